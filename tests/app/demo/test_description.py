"""The committed description is complete and plausible: every later test builds on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from univers.versions import DebianVersion, PypiVersion, SemverVersion

from app.demo.description import Description, load_description


@pytest.fixture(scope="module")
def description() -> Description:
    return load_description()


def test_debian_packages_are_unique_and_have_readable_versions(description: Description) -> None:
    packages = [*description.base, *description.installed]
    assert len(packages) > 110
    assert len({package.name for package in packages}) == len(packages)
    for package in packages:
        assert str(DebianVersion(package.version)) == package.version
        assert package.architecture in {"amd64", "all"}


def test_a_rebuilt_package_names_the_version_of_its_source(description: Description) -> None:
    for package in [*description.base, *description.installed]:
        rebuilt = re.search(r"\+b\d+$", package.version)
        if rebuilt is not None:
            assert package.source_version is not None, package
            assert package.source_version in package.version


def test_upgrades_are_newer_than_what_they_replace(description: Description) -> None:
    old = {package.name: package for package in (*description.base, *description.installed)}
    assert description.upgraded
    for package in description.upgraded:
        assert DebianVersion(package.version) > DebianVersion(old[package.name].version)


def test_wheels_are_universal_and_pinned_by_hash(description: Description) -> None:
    for wheel in description.wheels:
        assert re.fullmatch(r"[0-9a-f]{64}", wheel.sha256)
        name, version, _, abi, platform = wheel.file.removesuffix(".whl").split("-")
        assert (name, version) == (wheel.name, wheel.version)
        assert (abi, platform) == ("none", "any")
        assert str(PypiVersion(wheel.version)) == wheel.version
    assert [wheel.name for wheel in description.wheels if wheel.uninstalled] == ["wheel"]


def test_npm_packages_cover_a_scope_and_a_second_version_of_one_package(description: Description) -> None:
    assert any(package.name.startswith("@") for package in description.npm)
    nested = [package for package in description.npm if package.inside]
    assert nested
    names = {package.name for package in description.npm if not package.inside}
    for package in nested:
        assert package.inside in names
        assert package.name in names
    replaced = {package.name: package for package in description.npm_replaced}
    for package in description.npm:
        assert str(SemverVersion(package.version)) == package.version
        if package.name in replaced:
            assert SemverVersion(replaced[package.name].version) > SemverVersion(package.version)


@pytest.mark.parametrize("field", ["version: 2.10", "version: 1", "version: null"])
def test_a_version_that_yaml_reads_as_a_number_is_refused(tmp_path: Path, field: str) -> None:
    (tmp_path / "rootfs.yaml").write_text(
        f"files: []\nlicenses: {{}}\nbase:\n  - {{name: a, {field}, architecture: all, section: libs, priority: optional}}\n"
        "installed: []\nupgraded: []\n"
    )
    (tmp_path / "application.yaml").write_text("python: []\nnpm: []\nnpm_replaced: []\nfiles: []\n")
    with pytest.raises(TypeError, match="quotes"):
        load_description(tmp_path)


def test_a_document_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rootfs.yaml").write_text("- a\n")
    with pytest.raises(TypeError, match="mapping"):
        load_description(tmp_path)
