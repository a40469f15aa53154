"""Which distribution an image is: os-release(5), or what older images have instead."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from schema.dependencies.records import OperatingSystem
from workers.inventory.control import MAX_FIELD, text_of
from workers.oci.files import ImageFile

OS_RELEASE = ("etc/os-release", "usr/lib/os-release")
DEBIAN_VERSION = "etc/debian_version"
ALPINE_RELEASE = "etc/alpine-release"
_ALL = frozenset((*OS_RELEASE, DEBIAN_VERSION, ALPINE_RELEASE))
_LTS_YEARS_ARE_EVEN = 2


def wants(path: str) -> bool:
    return path in _ALL


def operating_system(files: Mapping[str, ImageFile]) -> OperatingSystem | None:
    """None when nothing in the image says what it is."""
    for path in OS_RELEASE:
        if path in files:
            fields = _fields(text_of(files[path].content))
            if fields.get("ID"):
                name = fields.get("PRETTY_NAME") or fields.get("NAME") or fields["ID"]
                return _system(fields["ID"].lower(), fields.get("VERSION_ID", ""), name)
    for path, distribution, name in (
        (DEBIAN_VERSION, "debian", "Debian GNU/Linux"),
        (ALPINE_RELEASE, "alpine", "Alpine Linux"),
    ):
        if path in files:
            version = text_of(files[path].content).strip()[:40]
            return _system(distribution, version, f"{name} {version}")
    return None


def _fields(text: str) -> dict[str, str]:
    """Shell-like assignments, as os-release(5) restricts them."""
    fields = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            try:
                words = shlex.split(value)
            except ValueError:
                continue  # an unbalanced quote
            fields[name] = " ".join(words)[:MAX_FIELD]
    return fields


def _system(distribution: str, version: str, name: str) -> OperatingSystem:
    ecosystem = _ecosystem(distribution, version)
    return OperatingSystem(id=distribution, name=name[:200], version=version[:40], ecosystem=ecosystem)


# What is before the colon, and how the version follows it: not at all, by its major number, by both numbers.
_WITHOUT_VERSION = {"wolfi": "Wolfi", "chainguard": "Chainguard"}
_BY_MAJOR = {"debian": "Debian", "rocky": "Rocky Linux", "almalinux": "AlmaLinux"}


def _ecosystem(distribution: str, version: str) -> str | None:
    """The OSV ecosystem ("Debian:12"), None where OSV has none or the release cannot be told (Debian unstable)."""
    if distribution in _WITHOUT_VERSION:
        return _WITHOUT_VERSION[distribution]
    numbers = re.match(r"(\d+)(?:\.(\d+))?", version)
    if numbers is None:
        return None
    major, minor = numbers[1], numbers[2]
    if distribution in _BY_MAJOR:
        return f"{_BY_MAJOR[distribution]}:{major}"
    if distribution == "alpine" and minor is not None:
        return f"Alpine:v{major}.{minor}"
    if distribution == "ubuntu" and minor is not None:
        is_lts = minor == "04" and int(major) % _LTS_YEARS_ARE_EVEN == 0
        return f"Ubuntu:{major}.{minor}" + (":LTS" if is_lts else "")
    return None
