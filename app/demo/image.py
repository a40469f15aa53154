"""Build the demonstration image: a Debian 12 web shop with known flaws, in the layers a real build would have.

It is a real OCI image, put together without root, without a container engine and without any network but the Python
package index. Packages that a later layer upgrades, replaces or removes show that layers are applied and not added up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.demo.description import (
    DebianPackage,
    DescribedFile,
    Description,
    NpmPackage,
    PinnedWheel,
    load_description,
)
from app.demo.layout import (
    Entry,
    Layer,
    Step,
    image_files,
    opaque,
    pack_layer,
    whiteout,
    write_archive,
    write_layout,
)
from app.demo.wheels import Fetch, collect_wheels, download_wheels, installed_names, unpack_wheel

REFERENCE = "demo/harbor-shop:1.0"
STATUS = "var/lib/dpkg/status"
FILE_LISTS = "var/lib/dpkg/info"
APPLICATION = "usr/src/app"
SETTINGS: Mapping[str, object] = {
    "Cmd": ["node", "server.js"],
    "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"],
    "ExposedPorts": {"8000/tcp": {}},
    "Labels": {"org.opencontainers.image.title": "Harbor shop, a demonstration that is scanned and never started"},
    "User": "shop",
    "WorkingDir": f"/{APPLICATION}",
}

# Receives one short line for each thing that is begun.
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoImage:
    """The built image: an OCI layout directory, the same as one archive, its name and the digest of its manifest."""

    layout: Path
    archive: Path
    reference: str
    digest: str


def build_demo_image(
    destination: Path,
    *,
    cache: Path,
    description: Description | None = None,
    fetch: Fetch = download_wheels,
    progress: Progress | None = None,
) -> DemoImage:
    """Build the image into `destination/harbor-shop` and `destination/harbor-shop.tar`.

    `cache` keeps the downloaded wheels (11 MB); what is there with the right hash is not fetched again. The same
    description gives the same image. Errors: HarborGuardError if wheels can't be had, OSError if files can't be written.
    """
    tell = progress or _silent
    description = description or load_description()
    tell(f"collecting {len(description.wheels)} Python wheels")
    wheels = collect_wheels(description.wheels, cache, fetch=fetch)
    tell("packing layers")
    digest, files = image_files(build_steps(description, wheels), reference=REFERENCE, settings=SETTINGS)
    image = DemoImage(
        layout=destination / "harbor-shop", archive=destination / "harbor-shop.tar", reference=REFERENCE, digest=digest
    )
    tell(f"writing {image.layout}")
    write_layout(image.layout, files)
    tell(f"writing {image.archive}")
    write_archive(image.archive, files)
    return image


def build_steps(description: Description, wheels: Mapping[str, bytes]) -> Sequence[Step]:
    """The history of the image. `wheels` holds the content of each wheel by file name."""
    unpacked = {wheel: unpack_wheel(wheels[wheel.file]) for wheel in description.wheels}
    layers = [
        _base(description),
        _installed(description),
        _python(unpacked),
        pack_layer(f"RUN npm ci # {len(description.npm)} packages", _npm(description.npm)),
        pack_layer("COPY . . # the shop", map(_described, description.application)),
        _upgraded(description),
        _removed(description, unpacked),
    ]
    steps = [Step(created_by=layer.created_by, layer=layer) for layer in layers]
    changes = [Step(created_by=line) for line in ("USER shop", 'CMD ["node", "server.js"]')]
    return [
        *steps[:2],
        Step(created_by="ENV LANG=C.UTF-8"),
        Step(created_by=f"WORKDIR /{APPLICATION}"),
        *steps[2:],
        *changes,
    ]


def dpkg_status(packages: Iterable[DebianPackage]) -> str:
    """The dpkg database of installed packages (deb-control(5) stanzas, sorted by name as dpkg writes them)."""
    return "\n".join(_stanza(package) for package in sorted(packages, key=lambda package: package.name))


def _base(description: Description) -> Layer:
    entries = [*map(_described, description.files), *_brought(description.base, description.licenses)]
    entries.append(_status(description.base))
    return pack_layer("ADD debian-12.0-amd64.tar.xz /", entries)


def _installed(description: Description) -> Layer:
    entries = _brought(description.installed, description.licenses)
    entries.append(_status([*description.base, *description.installed]))
    return pack_layer("RUN apt-get install -y ca-certificates curl libsqlite3-0 libwebp7 libxml2 openssl", entries)


def _python(unpacked: Mapping[PinnedWheel, Sequence[Entry]]) -> Layer:
    names = " ".join(f"{wheel.name}=={wheel.version}" for wheel in unpacked)
    return pack_layer(f"RUN pip install {names}", (entry for entries in unpacked.values() for entry in entries))


def _upgraded(description: Description) -> Layer:
    current = {package.name: package for package in (*description.base, *description.installed)}
    current.update({package.name: package for package in description.upgraded})
    names = " ".join(package.name for package in description.upgraded)
    entries = _brought(description.upgraded, description.licenses)
    entries.append(_status(current.values()))
    return pack_layer(f"RUN apt-get install -y --only-upgrade {names}", entries)


def _removed(description: Description, unpacked: Mapping[PinnedWheel, Sequence[Entry]]) -> Layer:
    """Uninstalled distributions leave whiteouts; a replaced npm package hides its old directory as a whole."""
    gone = [wheel for wheel in unpacked if wheel.uninstalled]
    entries = [whiteout(path) for wheel in gone for path in installed_names(unpacked[wheel])]
    entries += [opaque(_npm_directory(package)) for package in description.npm_replaced]
    entries += _npm(description.npm_replaced)
    replaced = " ".join(f"{package.name}@{package.version}" for package in description.npm_replaced)
    uninstalled = " ".join(wheel.name for wheel in gone)
    return pack_layer(f"RUN pip uninstall -y {uninstalled} && npm install {replaced}", entries)


def _status(packages: Iterable[DebianPackage]) -> Entry:
    return Entry(path=STATUS, content=dpkg_status(packages).encode())


def _stanza(package: DebianPackage) -> str:
    lines = [
        f"Package: {package.name}",
        "Status: install ok installed",
        f"Priority: {package.priority}",
        f"Section: {package.section}",
        f"Architecture: {package.architecture}",
    ]
    if package.source_version is not None:
        lines.append(f"Source: {package.source or package.name} ({package.source_version})")
    elif package.source is not None:
        lines.append(f"Source: {package.source}")
    return "\n".join([*lines, f"Version: {package.version}", ""])


def _brought(packages: Iterable[DebianPackage], licenses: Mapping[str, str]) -> list[Entry]:
    """What a package brings with it: the list of its files, and its licence where the description names that.

    dpkg's one status file is rewritten by every installation; the file lists tell which layer brought a package.
    """
    entries = []
    for package in packages:
        files = ["/."]
        if package.name in licenses:
            entries.append(_copyright(package.name, licenses[package.name]))
            files.append(f"/{entries[-1].path}")
        entries.append(
            Entry(path=f"{FILE_LISTS}/{package.name}.list", content="".join(f"{f}\n" for f in files).encode())
        )
    return entries


def _copyright(name: str, license_name: str) -> Entry:
    text = (
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
        f"\nFiles: *\nCopyright: the authors of {name}\nLicense: {license_name}\n"
    )
    return Entry(path=f"usr/share/doc/{name}/copyright", content=text.encode())


def _described(file: DescribedFile) -> Entry:
    return Entry(path=file.path, content=file.text.encode(), link=file.link)


def _npm_directory(package: NpmPackage) -> str:
    inside = f"{package.inside}/node_modules/" if package.inside else ""
    return f"{APPLICATION}/node_modules/{inside}{package.name}"


def _npm(packages: Iterable[NpmPackage]) -> list[Entry]:
    return [entry for package in packages for entry in _npm_module(package)]


def _npm_module(package: NpmPackage) -> tuple[Entry, Entry]:
    directory = _npm_directory(package)
    manifest = {"name": package.name, "version": package.version, "license": package.license, "main": "index.js"}
    return (
        Entry(path=f"{directory}/package.json", content=(json.dumps(manifest, indent=2) + "\n").encode()),
        Entry(path=f"{directory}/index.js", content=b"module.exports = {};\n"),
    )


def _silent(line: str) -> None:
    """Nobody asked for progress."""
