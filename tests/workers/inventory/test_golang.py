from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.dependencies.records import PackageRecord, PackageType
from tests.workers.inventory.files import file
from workers.inventory.golang import Module, go_packages, read_modules
from workers.inventory.notes import Notes

TEXT = """\
path\texample.org/shop/cmd/shop
mod\texample.org/shop\tv1.2.3\th1:abc=
dep\tgithub.com/Masterminds/semver/v3\tv3.2.1\th1:abc=
dep\tgolang.org/x/net\tv0.7.0
=>\tgolang.org/x/net\tv0.17.0\th1:abc=
dep\tk8s.io/api\tv0.0.0
=>\t./staging/src/k8s.io/api\t(devel)
dep\tgopkg.in/old\tv2.0.0+incompatible\th1:abc=
build\t-compiler=gc
"""


def packages(version: str, modules: str) -> list[PackageRecord]:
    return list(go_packages([(file("usr/bin/shop", "", 2), {"go_version": version, "go_modules": modules})], Notes()))


def main(*lines: str) -> Module | None:
    return next(read_modules("\n".join(["mod\texample.org/shop\t(devel)\t", *lines])), None)


def test_the_modules_of_a_program() -> None:
    assert [(each.name, each.version, each.purl) for each in packages("go1.21.3", TEXT)] == [
        ("stdlib", "1.21.3", "pkg:golang/stdlib@1.21.3"),
        ("example.org/shop", "v1.2.3", "pkg:golang/example.org/shop@v1.2.3"),
        (
            "github.com/Masterminds/semver/v3",
            "v3.2.1",
            "pkg:golang/github.com/Masterminds/semver/v3@v3.2.1",
        ),
        ("golang.org/x/net", "v0.17.0", "pkg:golang/golang.org/x/net@v0.17.0"),
        ("gopkg.in/old", "v2.0.0+incompatible", "pkg:golang/gopkg.in/old@v2.0.0%2Bincompatible"),
    ]


def test_a_module_as_a_record() -> None:
    [package] = packages("", "mod\texample.org/shop\tv1.2.3\n")
    assert package == PackageRecord(
        name="example.org/shop",
        version="v1.2.3",
        type=PackageType.GO,
        ecosystem="Go",
        source_name="example.org/shop",
        source_version="v1.2.3",
        purl="pkg:golang/example.org/shop@v1.2.3",
        path="usr/bin/shop",
        layer_digest=f"sha256:{2:064x}",
        layer_index=2,
    )


@pytest.mark.parametrize(
    ("toolchain", "version"),
    [
        ("go1.21.3", "1.21.3"),
        ("go1.20", "1.20"),
        ("go1.22rc2", "1.22rc2"),
        ("go1.20.10 X:boringcrypto", "1.20.10"),
        ("go1.19.6-custom", "1.19.6"),
        ("devel go1.22-abcdef0 Tue", None),
        ("devel +abcdef0", None),
    ],
)
def test_the_standard_library_is_as_old_as_the_toolchain(toolchain: str, version: str | None) -> None:
    assert [each.version for each in packages(toolchain, "")] == ([version] if version else [])


def test_the_version_of_a_program_that_was_built_from_a_checkout() -> None:
    commit = "build\tvcs.revision=0123456789abcdef0123456789abcdef01234567"
    time = "build\tvcs.time=2023-10-11T12:13:14Z"
    stamped = "build\t-ldflags=\"-s -w -X 'main.commit=1' -X example.org/shop/internal.Version=1.5.0-rc.1\""
    assert main(commit, time) == Module("example.org/shop", "v0.0.0-20231011121314-0123456789ab")
    assert main(commit, time, stamped) == Module("example.org/shop", "v1.5.0-rc.1")
    assert main("build\t-ldflags=-X=main.version=v2.0.0") == Module("example.org/shop", "v2.0.0")
    assert main(commit) is None
    assert main() is None


def test_a_program_that_was_built_without_modules() -> None:
    stamped = "build\t-ldflags=-X github.com/cli/cli/v2/internal/build.Version=2.23.0"
    assert list(read_modules(f"path\tgithub.com/cli/cli/v2/cmd/gh\n{stamped}")) == [
        Module("github.com/cli/cli/v2/cmd/gh", "v2.23.0")
    ]
    assert list(read_modules("path\tcommand-line-arguments\n")) == []


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("mod dep path build =>\t\n.v1/(devel)")), st.text())
def test_no_text_makes_it_raise(modules: str, version: str) -> None:
    packages(version, modules)
