"""What Syft and Trivy print of an image, imported, is what a scan with them finds in it: every format they write."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest

from schema.advisories.ecosystems import normalize_name
from schema.dependencies.models import Package
from schema.scans.models import Engine, EngineRun, ScanStatus
from tests.app.site import on_sqlite
from tests.factories.images import write_layout
from tests.tools import ONLY_REAL_TOOLS, REAL_TOOLS
from tests.workers.engines.images import various
from tests.workers.workshop import Workshop

Known = tuple[object, ...]
SYFT = {
    "syft.json": "syft-json",
    "syft.cdx.json": "cyclonedx-json",
    "syft.cdx14.json": "cyclonedx-json@1.4",
    "syft.spdx.json": "spdx-json",
    "syft.spdx22.json": "spdx-json@2.2",
}
TRIVY = {"trivy.json": "json", "trivy.cdx.json": "cyclonedx", "trivy.spdx.json": "spdx-json", "trivy.sarif": "sarif"}


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """By name of the file; with the layout itself at "layout", as a path."""
    directory = tmp_path_factory.mktemp("printed")
    layout = write_layout(directory / "layout", various())
    environment = {"HOME": str(directory), "SYFT_CHECK_FOR_APP_UPDATE": "false", "TRIVY_SKIP_VERSION_CHECK": "true"}
    outputs = [argument for name, form in SYFT.items() for argument in ("--output", f"{form}={directory / name}")]
    calls = [[REAL_TOOLS[Engine.SYFT], "scan", "--quiet", "--from", "oci-dir", *outputs, str(layout)]]
    for name, form in TRIVY.items():
        calls.append(
            [
                *(REAL_TOOLS[Engine.TRIVY], "image", "--input", str(layout), "--format", form, "--quiet"),
                *("--scanners", "secret,misconfig", "--image-config-scanners", "misconfig", "--list-all-pkgs"),
                # Without its Java database Trivy would fail at the first archive of Java.
                *("--skip-files=**/*.jar", "--offline-scan", "--skip-db-update", "--skip-java-db-update"),
                *("--cache-dir", str(directory / "cache"), "--output", str(directory / name)),
            ]
        )
    for call in calls:
        subprocess.run(call, check=True, capture_output=True, env=environment)
    return {name: (directory / name).read_bytes() for name in (*SYFT, *TRIVY)} | {"layout": str(layout).encode()}


def everything(package: Package) -> Known:
    place = (package.path, package.layer_index, package.layer_digest)
    return (*essence(package), package.name, tuple(package.licenses), *place)


def essence(package: Package) -> Known:
    """What formats of several tools have words for: PyPI's names in one spelling, and no layers."""
    return (
        package.type,
        normalize_name(package.ecosystem or "", package.name),
        package.version,
        package.ecosystem,
        package.source_name,
        package.source_version,
        package.purl,
        package.architecture,
    )


async def packages(workshop: Workshop, scan_id: str) -> list[Package]:
    return [package for package in await workshop.rows(Package) if package.scan_id == scan_id]


@on_sqlite
@pytest.mark.parametrize("name", [name for name in (*SYFT, *TRIVY) if name != "trivy.sarif"])
async def test_importing_is_scanning(workshop: Workshop, printed: Mapping[str, bytes], name: str) -> None:
    engine = Engine.SYFT if name in SYFT else Engine.TRIVY
    workshop.tools, workshop.native_fallback = ONLY_REAL_TOOLS, False
    scanned = await workshop.scanned(Path(printed["layout"].decode()), engines=(engine,))
    imported = await workshop.import_(printed[name], name="acme/imported:1")

    assert imported.status is ScanStatus.COMPLETE, imported.failure_reason
    of = everything if name in {"syft.json", "trivy.json"} else essence
    theirs = await packages(workshop, scanned.id)
    without_java = [each for each in theirs if engine is Engine.SYFT or each.type != "maven"]
    assert {of(each) for each in await packages(workshop, imported.id)} == {of(each) for each in without_java}
    assert imported.package_count == len(without_java) > 5
    providers = {run.scan_id: run.provider for run in await workshop.rows(EngineRun) if run.engine is engine}
    assert providers[imported.id] == providers[scanned.id]
    if name in SYFT:
        assert imported.digest == scanned.digest


@on_sqlite
async def test_sarif_of_trivy_without_vulnerabilities_has_nothing_for_us(
    workshop: Workshop, printed: Mapping[str, bytes]
) -> None:
    assert orjson.loads(printed["trivy.sarif"])["runs"][0]["results"], "there are other results"

    scan = await workshop.import_(printed["trivy.sarif"])

    assert (scan.status, scan.grade, scan.package_count) == (ScanStatus.COMPLETE, None, 0)
