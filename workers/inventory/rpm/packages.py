"""RPM packages, from whichever of rpm's three databases an image has.

The version is `epoch:version-release`, without the epoch where it is 0: rpm compares a missing epoch as 0 (rpm-version(7)),
and so do advisories, whether they write it (Red Hat) or not (AlmaLinux). Advisories name the source package, which the
header states as the file name of its source RPM, without an epoch: that of a source is the epoch of the packages of it
that bear its version, since a package may have a version and an epoch of its own (those of perl do).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from schema.dependencies.records import OperatingSystem, PackageRecord, PackageType
from workers.inventory.licenses import stated_licenses
from workers.inventory.notes import Notes
from workers.inventory.ownership import MAX_PATH, Ownership
from workers.inventory.packages import distribution_package
from workers.inventory.rpm.berkeley import read_berkeley
from workers.inventory.rpm.header import Header, Tag
from workers.inventory.rpm.malformed import MalformedError
from workers.inventory.rpm.ndb import read_ndb
from workers.inventory.rpm.sqlite import read_sqlite
from workers.oci.files import ImageFile, Place

# SUSE and Fedora lead the first to the second by a link; rpm-ostree has the third.
DIRECTORIES = ("var/lib/rpm/", "usr/lib/sysimage/rpm/", "usr/share/rpm/")
SQLITE, LOG, NDB, BERKELEY = "rpmdb.sqlite", "rpmdb.sqlite-wal", "Packages.db", "Packages"
NAMES = frozenset({SQLITE, LOG, NDB, BERKELEY})
_PATHS = frozenset(directory + name for directory in DIRECTORIES for name in NAMES)
# Keys that were imported, which rpm keeps among the packages.
_KEY = "gpg-pubkey"
_SOURCE = re.compile(r"(.+)-([^-]+-[^-]+)\.(?:no)?src\.rpm")
# Algorithms of OpenPGP (RFC 9580, section 9.5), as rpm uses them for files. Older packages state none: MD5.
_DIGESTS = {1: "md5", 2: "sha1", 8: "sha256", 9: "sha384", 10: "sha512", 11: "sha224"}
_MD5 = 1
_MAX_PACKAGES = 100_000  # of one database
_LISTED = 32  # files of a package that are kept to find its layer


class _Installed(NamedTuple):
    name: str
    epoch: int
    version: str  # with the release
    architecture: str
    source: tuple[str, str] | None  # name, version with release
    license: str
    module: str
    layer: Place


def wants(path: str) -> bool:
    return path in _PATHS


def rpm_databases(files: Mapping[str, ImageFile]) -> Iterator[ImageFile]:
    """The database of each directory. Of several in one, left from a conversion, the newest kind, which rpm prefers."""
    for directory in DIRECTORIES:
        for name in (SQLITE, NDB, BERKELEY):
            if (file := files.get(f"{directory}{name}")) is not None and file.content:
                yield file
                break


def rpm_packages(
    files: Mapping[str, ImageFile], system: OperatingSystem | None, owned: Ownership, notes: Notes
) -> Iterator[PackageRecord]:
    """Installed packages. What cannot be read of a database is noted as unread: a part of it judges no image.

    The layer of a package is that of its files; of one without files, or none that is left, the layer that wrote the
    database last, because each layer that installs something rewrites it.
    """
    for database in rpm_databases(files):
        installed, unread = _installed(database, files, owned)
        for problem in unread:
            notes.add(database.path, problem)
        if unread:
            notes.unread.append(f"the RPM database {database.path}")
        yield from _records(installed, database, system, notes)


def _installed(
    database: ImageFile, files: Mapping[str, ImageFile], owned: Ownership
) -> tuple[list[_Installed], list[str]]:
    """Packages, and what was wrong: a header costs its package, anything else what comes after it."""
    installed: list[_Installed] = []
    problems: dict[str, None] = {}
    try:
        for blob in _headers(database, files):
            try:
                package = _read(blob, database, owned)
            except MalformedError as malformed:
                problems[f"has {malformed}"] = None
                continue
            if package is not None:
                installed.append(package)
    except MalformedError as malformed:
        problems[f"has {malformed}"] = None
    return installed, list(problems)


def _headers(database: ImageFile, files: Mapping[str, ImageFile]) -> Iterator[bytes]:
    directory, _, name = database.path.rpartition("/")
    if name == SQLITE:
        log = files.get(f"{directory}/{LOG}")
        headers = read_sqlite(database.content, log.content if log is not None else b"")
    else:
        headers = read_ndb(database.content) if name == NDB else read_berkeley(database.content)
    for count, header in enumerate(headers):
        if count == _MAX_PACKAGES:
            raise MalformedError("more packages than are read")
        yield header


def _read(blob: bytes, database: ImageFile, owned: Ownership) -> _Installed | None:
    header = Header(blob)
    name = header.text(Tag.NAME)
    if name == _KEY:
        return None
    version, release = header.text(Tag.VERSION), header.text(Tag.RELEASE)
    source = _SOURCE.fullmatch(header.text(Tag.SOURCERPM))
    listed = _claim_files(header, name, owned)
    return _Installed(
        name=name,
        epoch=header.number(Tag.EPOCH) or 0,
        version=f"{version}-{release}" if version and release else version,
        architecture=header.text(Tag.ARCH),
        source=(source[1], source[2]) if source else None,
        license=header.text(Tag.LICENSE),
        module=header.text(Tag.MODULARITYLABEL),
        layer=owned.place(listed) or database,
    )


def _claim_files(header: Header, name: str, owned: Ownership) -> list[str]:
    """Returns some of the files, which tell the package's layer."""
    directories, of_files = header.texts(Tag.DIRNAMES), header.numbers(Tag.DIRINDEXES)
    names, digests = header.texts(Tag.BASENAMES), header.texts(Tag.FILEDIGESTS)
    algorithm = _DIGESTS.get(header.number(Tag.FILEDIGESTALGO) or _MD5)
    listed: list[str] = []
    for index, (file, directory) in enumerate(zip(names, of_files, strict=False)):
        if directory >= len(directories):
            raise MalformedError("a file without a directory")
        digest = digests[index] if index < len(digests) else b""
        if not digest or len(directories[directory]) + len(file) > MAX_PATH:
            continue  # a directory or a link
        path = (directories[directory] + file).decode("utf-8", "replace").lstrip("/")
        if len(listed) < _LISTED:
            listed.append(path)
        if algorithm is not None:
            owned.claim(path, name, digest=(algorithm, digest.decode("ascii", "replace")))
    return listed


def _records(
    installed: list[_Installed], database: ImageFile, system: OperatingSystem | None, notes: Notes
) -> Iterator[PackageRecord]:
    epochs = {each.source: each.epoch for each in installed if each.source and each.source[1] == each.version}
    for each in installed:
        source = None
        if each.source is not None:
            name, version = each.source
            source = (name, _with_epoch(epochs.get(each.source, each.epoch), version))
        package = distribution_package(
            PackageType.RPM,
            each.name,
            _with_epoch(each.epoch, each.version),
            vendor="",
            system=system,
            source=source,
            architecture=each.architecture,
            licenses=stated_licenses(each.license),
            database=database,
            layer=each.layer,
            notes=notes,
            qualifiers={"epoch": str(each.epoch or ""), "rpmmod": each.module},
        )
        if package is not None:
            yield package


def _with_epoch(epoch: int, version: str) -> str:
    return f"{epoch}:{version}" if epoch and version else version
