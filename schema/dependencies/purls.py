"""Package URLs (ECMA-427) and the packages they name."""

from __future__ import annotations

from packageurl import PackageURL

from schema.advisories.ecosystems import normalize_name
from schema.dependencies.records import PackageType

KINDS = {
    "apk": PackageType.APK,
    "cargo": PackageType.CARGO,
    "composer": PackageType.COMPOSER,
    "deb": PackageType.DEB,
    "gem": PackageType.GEM,
    "golang": PackageType.GO,
    "maven": PackageType.MAVEN,
    "npm": PackageType.NPM,
    "nuget": PackageType.NUGET,
    "pypi": PackageType.PIP,
    "rpm": PackageType.RPM,
}
IMAGES = frozenset({"docker", "oci"})  # types of what is scanned, not of what is in it
_TYPES = {kind: name for name, kind in KINDS.items()}
DISTRIBUTION = {PackageType.APK, PackageType.DEB, PackageType.RPM}


def read_purl(text: str) -> PackageURL | None:
    """None for what is no package URL."""
    try:
        return PackageURL.from_string(text)
    except ValueError:
        return None


def purl_of(kind: PackageType, name: str, version: str | None) -> PackageURL | None:
    """Of a package whose kind is known: `group:artifact`, `@scope/name`, `github.com/acme/tool`."""
    separator = ":" if kind is PackageType.MAVEN else "/"
    namespace, _, bare = name.rpartition(separator)
    try:
        return PackageURL(_TYPES[kind], namespace or None, bare, version)
    except (ValueError, KeyError):
        return None


def package_name(kind: PackageType, purl: PackageURL) -> str:
    """How records name the package of a URL."""
    if kind in DISTRIBUTION or kind is PackageType.PIP:
        return purl.name
    if kind is PackageType.MAVEN:
        return ":".join(filter(None, (purl.namespace, purl.name)))
    # A module path of Go goes on in the subpath.
    return "/".join(filter(None, (purl.namespace, purl.name, purl.subpath if kind is PackageType.GO else None)))


def comparable_name(kind: PackageType, name: str) -> str:
    """Two spellings of one package are the same in this form."""
    return normalize_name("PyPI", name) if kind is PackageType.PIP else name
