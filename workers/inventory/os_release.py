"""Which distribution an image is: os-release(5), or what older images have instead."""

from __future__ import annotations

import re
from collections.abc import Mapping

from schema.dependencies.records import OperatingSystem
from workers.inventory.notes import Notes, printable
from workers.oci.files import ImageFile

OS_RELEASE = ("etc/os-release", "usr/lib/os-release")
_DEBIAN_VERSION = "etc/debian_version"
_ALPINE_RELEASE = "etc/alpine-release"
FILES = frozenset((*OS_RELEASE, _DEBIAN_VERSION, _ALPINE_RELEASE))
_SIZE = 64 * 1024  # bytes of such a file that are read
_NAME = 200  # characters, as stored
_ASSIGNMENT = re.compile(r"""\s*([A-Z0-9_]+)=(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\s"']*))\s*""")
_ESCAPED = re.compile(r"\\(.)")
_ID = re.compile(r"[a-z0-9._-]{1,40}")
_VERSION = re.compile(r"[A-Za-z0-9._~+^-]{1,40}")
_NUMBERS = re.compile(r"([0-9]+)(?:\.([0-9]+))?")

# Releases of Debian that do not state a number before they are released (distro-info-data).
_DEBIAN_TESTING = {"bookworm": "12", "trixie": "13", "forky": "14", "duke": "15"}
# OSV names (ossf.github.io/osv-schema, "Defined ecosystems"), and what of the version belongs to them.
_WITHOUT_RELEASE = {"wolfi": "Wolfi", "chainguard": "Chainguard"}
_BY_MAJOR = {
    "almalinux": "AlmaLinux",
    "azurelinux": "Azure Linux",
    "debian": "Debian",
    "mageia": "Mageia",
    "mariner": "Azure Linux",  # its name up to 2.0
    "rhel": "Red Hat:enterprise_linux",
    "rocky": "Rocky Linux",
}
_BY_MINOR = {"alpine": "Alpine:v", "photon": "Photon OS:"}
# SUSE files by what the distribution calls itself: "SUSE:Linux Enterprise Server 15 SP6", "openSUSE:Leap 15.6".
_SUSE = re.compile(r"(SUSE|openSUSE) ([A-Za-z0-9][A-Za-z0-9. -]{0,79})")
_SUSE_IDS = re.compile(r"sle[sd]|sle?[s_-][a-z_-]+|opensuse(?:-[a-z-]+)?")
_LONG_TERM = re.compile(r"\((LTS(?:-SP[0-9]{1,2})?)\)")  # of openEuler, in VERSION: "22.03 (LTS-SP3)"


def wants(path: str) -> bool:
    return path in FILES


def read_operating_system(files: Mapping[str, ImageFile], notes: Notes) -> OperatingSystem | None:
    """None when nothing in the image says what it is."""
    for path in OS_RELEASE:
        if path in files:
            fields = _fields(_text(files[path]))
            distribution = fields.get("ID", "").lower()
            if _ID.fullmatch(distribution):
                name = fields.get("PRETTY_NAME") or fields.get("NAME") or distribution
                version = fields.get("VERSION_ID") or fields.get("VERSION_CODENAME", "")
                return operating_system(distribution, version, name, long_version=fields.get("VERSION", ""))
            notes.add(path, "does not say which distribution this is")
    for path, distribution, name in (
        (_DEBIAN_VERSION, "debian", "Debian GNU/Linux"),
        (_ALPINE_RELEASE, "alpine", "Alpine Linux"),
    ):
        if path in files:
            version = _text(files[path]).strip().removesuffix("/sid")  # "12.4", "trixie/sid"
            return operating_system(distribution, version, f"{name} {version}")
    return None


def _text(file: ImageFile) -> str:
    return file.content[:_SIZE].decode("utf-8", "replace")


def _fields(text: str) -> dict[str, str]:
    """Shell-like assignments, as os-release(5) restricts them; of a repeated one the last counts."""
    fields = {}
    for line in text.split("\n"):
        match = _ASSIGNMENT.fullmatch(line)
        if match is not None:
            name, double, single, bare = match.groups()
            fields[name] = _ESCAPED.sub(r"\1", double) if double is not None else single or bare or ""
    return fields


def operating_system(distribution: str, version: str, name: str, *, long_version: str = "") -> OperatingSystem:
    """By its ID, VERSION_ID, PRETTY_NAME and VERSION."""
    version = version if _VERSION.fullmatch(version) else ""
    return OperatingSystem(
        id=distribution,
        name=printable(name)[:_NAME],
        version=version,
        ecosystem=_ecosystem(distribution, version, name=name, long_version=long_version),
    )


def _ecosystem(distribution: str, version: str, *, name: str, long_version: str) -> str | None:
    if distribution in _WITHOUT_RELEASE:
        return _WITHOUT_RELEASE[distribution]
    if _SUSE_IDS.fullmatch(distribution):
        product = _SUSE.fullmatch(name)
        return f"{product[1]}:{product[2]}" if product else None
    numbers = _NUMBERS.match(_DEBIAN_TESTING.get(version, version) if distribution == "debian" else version)
    if numbers is None:
        return None
    major, minor = numbers.groups()
    if distribution in _BY_MAJOR:
        return f"{_BY_MAJOR[distribution]}:{major}"
    return _minor_ecosystem(distribution, major, minor, long_version) if minor is not None else None


def _minor_ecosystem(distribution: str, major: str, minor: str, long_version: str) -> str | None:
    if distribution in _BY_MINOR:
        return f"{_BY_MINOR[distribution]}{major}.{minor}"
    if distribution == "ubuntu":
        is_long_term = minor == "04" and int(major) % 2 == 0
        return f"Ubuntu:{major}.{minor}{':LTS' if is_long_term else ''}"
    if distribution == "openeuler" and (long_term := _LONG_TERM.search(long_version)):
        return f"openEuler:{major}.{minor}-{long_term[1]}"
    return None
