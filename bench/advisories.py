"""B12: matching 50,000 packages against a full advisory set, warm; and reading what they are matched against.

The set is made: 300,000 records in the store, of which about 55,000 are about the packages, spread over ecosystems as OSV's
archives are, with names in the shapes the ecosystems use. Time is that of the process (user and system): what the machine
does beside is left out.
"""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from app.migrations import upgrade
from app.runtime import spare_collector
from bench.results import Result
from schema.advisories.importing import import_advisories
from schema.advisories.matching import lookup_keys, match_packages
from schema.advisories.records import AdvisoryRecord, AffectedPackage, VersionRange
from schema.advisories.repository import Candidates, candidates
from schema.dependencies.records import PackageRecord, PackageType
from schema.kernel.clock import utc_now
from schema.kernel.database import Database
from schema.vulnerabilities.records import Severity

T = TypeVar("T")
RUNS = 5
TARGET_SECONDS = 3
_SYLLABLES = [consonant + vowel for consonant in "bcdfghklmnprst" for vowel in "aeiou"]
_SHAPES = {  # ecosystem: share of the packages, names, a version, type
    "Debian:12": (0.34, "lib{}", "{}.{}.{}-{}+deb12u1", PackageType.DEB),
    "Alpine:v3.20": (0.06, "{}", "{}.{}.{}-r{}", PackageType.APK),
    "npm": (0.36, "@{}/{}", "{}.{}.{}", PackageType.NPM),
    "PyPI": (0.16, "{}-{}", "{}.{}.{}", PackageType.PIP),
    "Go": (0.08, "github.com/{}/{}", "v{}.{}.{}", PackageType.GO),
}
_VECTORS = (
    "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
    "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N",
    "CVSS:3.1/AV:L/AC:H/PR:L/UI:R/S:U/C:L/I:L/A:N",
)


def run(size: str) -> list[Result]:
    scale = 10 if size == "small" else 1
    return asyncio.run(_measure(packages=50_000 // scale, relevant=55_000 // scale, stored=300_000 // scale))


async def _measure(*, packages: int, relevant: int, stored: int) -> list[Result]:
    with tempfile.TemporaryDirectory() as directory:
        database = Database(f"sqlite+aiosqlite:///{Path(directory) / 'bench.db'}")
        try:
            await upgrade(database)
            inventory = list(make_packages(packages))
            started = time.process_time()
            await import_advisories(database, "made", _stream(inventory, relevant, stored), clock=utc_now)
            filled = time.process_time() - started
            keys = {key for package in inventory for key in lookup_keys(package)}
            spare_collector()
            reads, matches, findings = [], [], 0
            for _ in range(RUNS):
                advisories: Candidates = {}  # the run before is not this one's to clear away
                gc.collect()
                started = time.process_time()
                async with database.snapshot() as session:
                    advisories = await candidates(session, keys)
                reads.append(time.process_time() - started)
                seconds, found = _timed(partial(match_packages, inventory, advisories))
                matches.append(seconds)
                findings = len(found)
        finally:
            await database.close()
    # The first run fills the caches of parsed versions and scored vectors: the others are warm.
    read, match = statistics.median(reads[1:]), statistics.median(matches[1:])
    what = f"{packages:,} packages, {stored:,} records, {findings:,} findings"
    return [
        Result("B12", f"{what}: reading and matching, warm", f"{read + match:.2f} s", f"<= {TARGET_SECONDS} s"),
        Result("B12", "of it reading candidates from SQLite", f"{read:.2f} s (cold {reads[0]:.2f} s)", "-"),
        Result("B12", "of it matching", f"{match:.2f} s (cold {matches[0]:.2f} s)", "-"),
        Result("-", f"importing {stored:,} records into SQLite", f"{filled:.0f} s", "-"),
    ]


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def make_packages(count: int) -> Iterator[PackageRecord]:
    """Installed packages. Of a distribution's, several are built from one source, as they are."""
    dice = random.Random(12)
    for ecosystem, (share, name, version, kind) in _SHAPES.items():
        built = 3 if ecosystem.startswith("Debian") else 2 if ecosystem.startswith("Alpine") else 1
        for _ in range(int(count * share) // built):
            source, number = _word(dice, name), _version(dice, version)
            for part in range(built):
                own = f"{source}-{part}" if built > 1 else source
                yield PackageRecord(
                    name=own,
                    version=number,
                    type=kind,
                    ecosystem=ecosystem,
                    source_name=source,
                    source_version=number,
                    purl=f"pkg:{kind}/{own}@{number}",
                    path="var/lib/packages",
                    layer_digest="sha256:0",
                    layer_index=0,
                )


def make_records(inventory: list[PackageRecord], relevant: int, stored: int) -> Iterator[AdvisoryRecord]:
    """`relevant` records about the packages, and as many about others as make `stored`."""
    dice = random.Random(13)
    named = sorted({(package.ecosystem or "", package.source_name) for package in inventory})
    # Few packages have most of the flaws: names are drawn by rank.
    for number in range(relevant):
        ecosystem, name = named[int(len(named) * dice.random() ** 2)]
        yield _record(dice, number, ecosystem, name)
    others = list(_SHAPES)
    for number in range(relevant, stored):
        ecosystem = dice.choice(others)
        yield _record(dice, number, ecosystem, _word(dice, _SHAPES[ecosystem][1]) + "-other")


def _record(dice: random.Random, number: int, ecosystem: str, name: str) -> AdvisoryRecord:
    distribution = ":" in ecosystem
    cve = f"CVE-{2010 + number % 16}-{10_000 + number}"
    version = _SHAPES[ecosystem][2]
    events: list[tuple[str, str]] = [("introduced", "0"), ("fixed", _version(dice, version))]
    if not distribution and number % 3 == 0:
        events += [("introduced", "9.0.0"), ("fixed", "9.9.9")]
    listed = tuple(f"0.{minor}.{patch}" for minor in range(8) for patch in range(5)) if ecosystem == "PyPI" else ()
    rated = not distribution or number % 4 == 0
    return AdvisoryRecord(
        id=f"{ecosystem.partition(':')[0].upper()}-{cve}" if distribution else f"GHSA-{number:012d}",
        aliases=(cve,),
        summary=f"A flaw in {name}",
        details="What it is and how it is mended, at some length. " * 8,
        published=datetime(2024, 1, 1, tzinfo=UTC),
        modified=datetime(2024, 5, 1, tzinfo=UTC),
        withdrawn=datetime(2024, 6, 1, tzinfo=UTC) if number % 50 == 0 else None,
        severity=Severity.UNKNOWN if not rated else Severity.HIGH,
        cvss_score=None,
        cvss_vectors=(dice.choice(_VECTORS),) if rated else (),
        references=tuple(f"https://example.org/{number}/{place}" for place in range(4)),
        affected=(
            AffectedPackage(
                ecosystem=ecosystem,
                name=name,
                ranges=(
                    VersionRange(type="SEMVER" if ecosystem in ("npm", "Go") else "ECOSYSTEM", events=tuple(events)),
                ),
                versions=listed,
                severity=None,
                cvss_vectors=(),
            ),
        ),
    )


def _word(dice: random.Random, shape: str) -> str:
    return shape.format(*("".join(dice.choices(_SYLLABLES, k=dice.randint(2, 4))) for _ in range(2)))


def _version(dice: random.Random, shape: str) -> str:
    return shape.format(dice.randint(0, 9), dice.randint(0, 20), dice.randint(0, 30), dice.randint(0, 5))


async def _stream(inventory: list[PackageRecord], relevant: int, stored: int) -> AsyncIterator[AdvisoryRecord | None]:
    for record in make_records(inventory, relevant, stored):
        yield record
