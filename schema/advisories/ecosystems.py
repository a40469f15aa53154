"""OSV ecosystems: which are distributions, how their names are compared, and where a package's advisories are filed.

An ecosystem is written `Base` or `Base:release` (OSV schema, `affected[].package`): `PyPI`, `Debian:12`,
`Ubuntu:22.04:LTS`, `Red Hat:enterprise_linux:9::baseos`.
"""

from __future__ import annotations

import re
from functools import lru_cache

DPKG = frozenset({"Debian", "Ubuntu"})
APK = frozenset({"Alpine", "Alpaquita", "BellSoft Hardened Containers", "Chainguard", "CleanStart", "MinimOS", "Wolfi"})
RPM = frozenset(
    {
        "AlmaLinux",
        "Azure Linux",
        "Mageia",
        "Photon OS",
        "Red Hat",
        "Rocky Linux",
        "SUSE",
        "openEuler",
        "openSUSE",
    }
)
DISTRIBUTIONS = DPKG | APK | RPM

# Their records name installed packages beside, or instead of, source packages. The others must be looked up by the
# source alone: there a binary can bear the name of another source.
_NAMES_BINARIES = frozenset({"AlmaLinux", "Chainguard", "MinimOS", "Photon OS", "Red Hat", "Wolfi"})

_CASE_INSENSITIVE = frozenset({"GitHub Actions", "Hex", "NuGet", "Packagist", "Pub"})
_PEP_503 = re.compile(r"[-_.]+")
_MAJOR = re.compile(r"[0-9]+")
_UBUNTU_RELEASE = re.compile(r"[0-9]+\.[0-9]+")
_RED_HAT_STREAMS = ("", "::baseos", "::appstream", "::crb")
_RED_HAT_BY_MINOR = 10  # the first release whose advisories are filed by minor release, without a repository
_RED_HAT_MINORS = range(11)
_SUSE_SERVER = re.compile(r"Linux Enterprise (?:Server|Desktop)[A-Za-z ]* (15(?: SP[0-9])?)")
# The modules of SUSE Linux Enterprise 15 that its base images install from.
_SUSE_MODULES = (
    "Basesystem",
    "Certifications",
    "Containers",
    "Desktop Applications",
    "Development Tools",
    "Legacy",
    "Public Cloud",
    "Python 3",
    "Server Applications",
    "Web and Scripting",
)
_UBUNTU_PRO = "Ubuntu:Pro:"


@lru_cache(maxsize=1024)
def ecosystem_base(ecosystem: str) -> str:
    """`Debian` of `Debian:12`."""
    return ecosystem.partition(":")[0]


def is_distribution(ecosystem: str) -> bool:
    return ecosystem_base(ecosystem) in DISTRIBUTIONS


def names_binaries(ecosystem: str) -> bool:
    """Whether the ecosystem's advisories name installed packages, not only the sources they are built from."""
    return ecosystem_base(ecosystem) in _NAMES_BINARIES


def is_ubuntu_pro(ecosystem: str) -> bool:
    """Whether the fixes of this ecosystem reach only those who subscribed to them."""
    return ecosystem.startswith(_UBUNTU_PRO)


def normalize_name(ecosystem: str, name: str) -> str:
    """The name as the ecosystem compares it: PEP 503 for PyPI, without case where case does not tell packages apart."""
    base = ecosystem_base(ecosystem)
    if base == "PyPI":
        return _PEP_503.sub("-", name).lower()
    return name.lower() if base in _CASE_INSENSITIVE else name


@lru_cache(maxsize=1024)
def advisory_ecosystems(ecosystem: str) -> tuple[str, ...]:
    """The ecosystems under which a package of `ecosystem` may have advisories, its own first.

    A record filed without a release speaks for all of them. Ubuntu's long-term releases are filed with and without their
    suffix, and once their support is over only under Ubuntu Pro. Red Hat files a release by repository (from 10 on by minor
    release), SUSE by the module that ships the package, and which one that is an image does not tell.
    """
    base, _, release = ecosystem.partition(":")
    found = [ecosystem]
    if base == "Ubuntu" and (number := _UBUNTU_RELEASE.search(release)):
        version = number[0]
        found += [f"Ubuntu:{version}", f"Ubuntu:{version}:LTS", f"{_UBUNTU_PRO}{version}:LTS"]
    elif base == "Red Hat" and (number := _MAJOR.search(release)):
        found += [f"Red Hat:enterprise_linux:{number[0]}{stream}" for stream in _RED_HAT_STREAMS]
        if int(number[0]) >= _RED_HAT_BY_MINOR:
            found += [f"Red Hat:enterprise_linux:{number[0]}.{minor}" for minor in _RED_HAT_MINORS]
    elif base == "SUSE" and (server := _SUSE_SERVER.fullmatch(release)):
        found += [f"SUSE:Linux Enterprise Module for {module} {server[1]}" for module in _SUSE_MODULES]
        found.append(f"SUSE:Linux Enterprise Server {server[1]}-LTSS")
    elif base in ("AlmaLinux", "Debian", "Rocky Linux") and (number := _MAJOR.match(release)):
        found.append(f"{base}:{number[0]}")
    found.append(base)
    return tuple(dict.fromkeys(found))
