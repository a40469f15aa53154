"""Syft, Trivy and Dive themselves, on an image with something for each; Trivy without its vulnerability database."""

from __future__ import annotations

import shutil
import subprocess

import orjson

from schema.dependencies.records import PackageRecord, PackageType
from schema.scans.evidence import CheckLevel
from schema.scans.models import Engine, EngineRunStatus
from tests.tools import REAL_TOOLS
from tests.workers.engines.conftest import Bench
from tests.workers.engines.images import CANARY, SITE, TOKEN
from workers.examination import Questions
from workers.oci.limits import ImageLimits
from workers.reading import examine_image
from workers.sandbox import SandboxLimits


def by_identity(packages: tuple[PackageRecord, ...] | None) -> dict[tuple[str, str, str], PackageRecord]:
    return {(each.type, each.name, each.version): each for each in packages or ()}


async def test_each_says_the_same_of_a_package_as_the_native_provider(bench: Bench) -> None:
    """Name, version, type, ecosystem, source, purl and architecture."""
    examined = await examine_image(bench.image.layout, Questions(), limits=ImageLimits(), sandbox=SandboxLimits())
    inventory = examined.inventory
    ours = by_identity(inventory.packages)
    assert {each.type for each in inventory.packages} == {
        PackageType.DEB,
        PackageType.PIP,
        PackageType.NPM,
        PackageType.GEM,
        PackageType.MAVEN,
        PackageType.COMPOSER,
        PackageType.NUGET,
    }

    answers = await bench.run({engine: REAL_TOOLS[engine] for engine in (Engine.SYFT, Engine.TRIVY)})

    for engine, answer in answers.items():
        assert answer.report is not None, answer.failure
        theirs = by_identity(answer.report.packages)
        missing = {kind for kind, _, _ in ours.keys() - theirs.keys()}
        # Trivy lists archives of Java only with its database of them, and Syft reads no *.deps.json of an image.
        assert missing == {PackageType.MAVEN if engine is Engine.TRIVY else PackageType.NUGET}
        for key in ours.keys() & theirs.keys():
            mine, other = ours[key], theirs[key]
            for name in ("ecosystem", "source_name", "source_version", "purl", "architecture", "layer_index"):
                assert getattr(other, name) == getattr(mine, name), (engine, key, name)
            assert other.path in {mine.path, ""}


async def test_what_only_the_tools_know(bench: Bench) -> None:
    answers = await bench.run({Engine.SYFT: REAL_TOOLS[Engine.SYFT], Engine.TRIVY: REAL_TOOLS[Engine.TRIVY]})

    syft, trivy = (answers[engine].report for engine in (Engine.SYFT, Engine.TRIVY))
    assert syft is not None
    assert trivy is not None
    log4j = by_identity(syft.packages)["maven", "org.apache.logging.log4j:log4j-core", "2.14.1"]
    assert (log4j.purl, log4j.ecosystem) == ("pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1", "Maven")
    for report in (syft, trivy):
        rack = by_identity(report.packages)["gem", "rack", "2.2.3"]
        assert (rack.ecosystem, rack.licenses, rack.layer_index) == ("RubyGems", ("MIT",), 1)
        assert by_identity(report.packages)["pip", "Typing_Extensions", "4.0"].path == f"{SITE}/METADATA"
    [secret] = trivy.secrets
    assert (secret.rule, secret.path, secret.line, secret.layer_index) == ("github-pat", "root/token", 3, 1)
    assert "*" in secret.masked
    assert TOKEN not in secret.masked
    checks = {check.check_id: check for check in trivy.misconfigurations}
    assert checks["DS-0026"].path == "", "the image's own configuration has no HEALTHCHECK"
    assert checks["DS-0026"].level is CheckLevel.INFO


async def test_trivy_without_its_database_did_not_look_for_vulnerabilities(bench: Bench) -> None:
    answer = (await bench.run({Engine.TRIVY: REAL_TOOLS[Engine.TRIVY]}))[Engine.TRIVY]

    assert answer.report is not None
    assert answer.report.findings is None, "which is not the same as none found"
    assert answer.tool.is_blind


async def test_dive_measures_layers(bench: Bench) -> None:
    answer = (await bench.run({Engine.DIVE: REAL_TOOLS[Engine.DIVE]}))[Engine.DIVE]

    assert answer.report is not None, answer.failure
    efficiency = answer.report.efficiency
    assert efficiency is not None
    assert next((each.path, each.count, each.bytes) for each in efficiency.wasted_files) == ("srv/big", 2, 10_000)
    assert efficiency.wasted_bytes == sum(each.bytes for each in efficiency.wasted_files)
    assert 0.0 < efficiency.efficiency < 1.0
    assert [each.diff_id for each in efficiency.layers] == list(bench.facts.diff_ids)
    top = efficiency.layers[-1]
    assert (top.added, top.changed, top.removed, top.bytes) == (0, 1, 1, 5000)


async def test_all_at_once_each_with_a_cache_of_its_own(bench: Bench) -> None:
    answers = await bench.run(REAL_TOOLS)

    assert [answer.failure for answer in answers.values()] == [None, None, None]
    versions = {engine: answer.tool.provider for engine, answer in answers.items()}
    assert versions[Engine.SYFT] == "syft 1.18.1"
    assert [event.ended for event in bench.events if event.status is EngineRunStatus.COMPLETE] == [1, 2, 3]
    left = [path.name for path in (bench.directory / "scan" / "engines").iterdir()]
    assert left == ["image.tar"], "directories of runs are gone"


async def test_kept_output_has_no_environment_and_no_path_of_this_machine(bench: Bench) -> None:
    answers = await bench.run(REAL_TOOLS)

    for engine, answer in answers.items():
        assert answer.output is not None
        assert str(bench.directory).encode() not in answer.output, engine
        assert CANARY.encode() not in answer.output, engine
    trivy, syft = (orjson.loads(answers[engine].output or b"") for engine in (Engine.TRIVY, Engine.SYFT))
    assert "ImageConfig" not in trivy["Metadata"]
    assert "config" not in syft["source"]["metadata"]


def make_empty_database(bench: Bench) -> None:
    """A database without a flaw in it, from the store Trivy keeps its cache in: the same format (bbolt)."""
    cache = bench.directory / "made"
    subprocess.run(
        [
            *(REAL_TOOLS[Engine.TRIVY], "image", "--input", str(bench.image.layout), "--scanners", "secret"),
            *("--cache-dir", str(cache), "--skip-db-update", "--skip-java-db-update", "--offline-scan", "--quiet"),
        ],
        check=True,
        capture_output=True,
    )
    directory = bench.databases / "trivy" / "db"
    directory.mkdir(parents=True)
    shutil.copy(cache / "fanal" / "fanal.db", directory / "trivy.db")
    times = dict.fromkeys(("NextUpdate", "UpdatedAt", "DownloadedAt"), "2026-05-01T00:00:00Z")
    (directory / "metadata.json").write_bytes(orjson.dumps({"Version": 2, **times}))


async def test_trivy_judges_by_the_operator_s_database_and_cannot_change_it(bench: Bench) -> None:
    make_empty_database(bench)
    before = {path: path.read_bytes() for path in bench.databases.rglob("*") if path.is_file()}

    answer = (await bench.run({Engine.TRIVY: REAL_TOOLS[Engine.TRIVY]}))[Engine.TRIVY]

    assert answer.report is not None, answer.failure
    assert answer.report.findings == ()
    assert str(answer.tool.database_date) == "2026-05-01 00:00:00+00:00"
    assert answer.report.warnings == ("has no Java database, so it did not look at Java archives",)
    assert {path: path.read_bytes() for path in bench.databases.rglob("*") if path.is_file()} == before
