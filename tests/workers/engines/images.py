"""A small image with something for every engine: packages of many kinds, secrets, wasted space, and its facts."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import orjson

from tests.factories.images import CREATED, Image, Whiteout, image, layer, write_layout
from tests.workers.workshop import OS_RELEASE
from workers.engines.report import ImageFacts
from workers.oci.layout import Image as StoredImage
from workers.oci.layout import read_image
from workers.oci.limits import ImageLimits

STATUS = b"""Package: bsdutils
Status: install ok installed
Architecture: amd64
Version: 1:2.38.1-5+b1
Source: util-linux (2.38.1-5)
Maintainer: x <x@example.org>
Description: x

Package: libssl3
Status: install ok installed
Architecture: amd64
Source: openssl
Version: 3.0.1-1
Maintainer: x <x@example.org>
Description: x

Package: adduser
Status: install ok installed
Architecture: all
Version: 3.134
Maintainer: x <x@example.org>
Description: x

"""
GEM = b'Gem::Specification.new do |s|\n  s.name = "rack".freeze\n  s.version = "2.2.3"\n  s.licenses = ["MIT".freeze]\nend\n'
INSTALLED = orjson.dumps({"packages": [{"name": "psr/log", "version": "1.1.4", "type": "library", "license": ["MIT"]}]})
LIBRARIES = orjson.dumps(
    {
        "runtimeTarget": {"name": ".NETCoreApp,Version=v6.0", "signature": ""},
        "targets": {
            ".NETCoreApp,Version=v6.0": {
                "Shop/1.0.0": {"dependencies": {"Newtonsoft.Json": "12.0.1"}, "runtime": {"Shop.dll": {}}},
                "Newtonsoft.Json/12.0.1": {"runtime": {"lib/netstandard2.0/Newtonsoft.Json.dll": {}}},
            }
        },
        "libraries": {
            "Shop/1.0.0": {"type": "project", "serviceable": False, "sha512": ""},
            "Newtonsoft.Json/12.0.1": {"type": "package", "serviceable": True, "sha512": "x", "path": "n.json/12.0.1"},
        },
    }
)
METADATA = b"Metadata-Version: 2.1\nName: Typing_Extensions\nVersion: 4.0\nLicense: MIT\n"
SITE = "usr/lib/python3/dist-packages/Typing_Extensions-4.0.dist-info"
CANARY = "value-of-the-environment"
TOKEN = "ghp_" + "0123456789abcdefghijABCDEFGHIJ012345"  # of GitHub's form and nobody's


def jar() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
        archive.writestr(
            "META-INF/maven/org.apache.logging.log4j/log4j-core/pom.properties",
            "version=2.14.1\ngroupId=org.apache.logging.log4j\nartifactId=log4j-core\n",
        )
    return buffer.getvalue()


def various() -> Image:
    base = layer(
        {
            "etc/os-release": OS_RELEASE,
            "usr/lib/os-release": OS_RELEASE,
            "etc/debian_version": b"12.5\n",
            "var/lib/dpkg/status": STATUS,
        },
        created_by="ADD rootfs",
    )
    application = layer(
        {
            f"{SITE}/METADATA": METADATA,
            f"{SITE}/RECORD": b"",
            "srv/node_modules/@babel/core/package.json": b'{"name": "@babel/core", "version": "7.1.0", "license": "MIT"}',
            "srv/log4j-core-2.14.1.jar": jar(),
            "usr/lib/ruby/gems/3.1.0/specifications/rack-2.2.3.gemspec": GEM,
            "srv/vendor/composer/installed.json": INSTALLED,
            "srv/Shop.deps.json": LIBRARIES,
            "root/token": f"\n\ntoken {TOKEN}\n".encode(),
            "srv/big": b"x" * 5000,
        },
        compression="zstd",
        created_by="COPY . /srv",
    )
    top = layer({"root/token": Whiteout(), "srv/big": b"y" * 5000})
    steps = ("ADD rootfs.tar /", "COPY . /srv", "RUN rm /root/token")
    history: list[dict[str, Any]] = [{"created": CREATED, "created_by": step} for step in steps]
    history += [{"created": CREATED, "created_by": step, "empty_layer": True} for step in ("ENV A=b", "USER root")]
    return image(base, application, top, config={"Env": [f"CANARY={CANARY}"], "Cmd": ["node"]}, history=history)


def stored(directory: Path, content: Image | None = None) -> StoredImage:
    return read_image(write_layout(directory, content or various()), ImageLimits())


def facts_of(content: StoredImage) -> ImageFacts:
    from workers.inventory.notes import Notes
    from workers.inventory.os_release import read_operating_system
    from workers.oci.files import ImageFile

    file = ImageFile(path="etc/os-release", content=OS_RELEASE, layer_index=0, layer_digest="")
    return ImageFacts(
        system=read_operating_system({"etc/os-release": file}, Notes()),
        diff_ids=tuple(each.diff_id for each in content.layers),
    )
