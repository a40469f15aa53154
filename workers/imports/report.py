"""What a report that was made elsewhere says, in our records."""

from __future__ import annotations

from dataclasses import dataclass

from schema.dependencies.records import LayerRecord, OperatingSystem
from schema.scans.formats import ReportFormat
from schema.scans.models import Engine
from workers.engines.documents import text
from workers.engines.report import EngineReport
from workers.inventory.os_release import operating_system
from workers.observation import Observation

# Names by which the tools of our engines sign documents of other formats.
_TOOLS = {
    "trivy": Engine.TRIVY,
    "grype": Engine.GRYPE,
    "syft": Engine.SYFT,
    "osv-scanner": Engine.OSV,
}
# What Trivy and package URLs call a distribution, where os-release(5) calls it otherwise.
_DISTRIBUTIONS = {
    "alma": "almalinux",
    "amazon": "amzn",
    "cbl-mariner": "mariner",
    "opensuse.leap": "opensuse-leap",
    "oracle": "ol",
    "redhat": "rhel",
    "suse linux enterprise server": "sles",
}
_GENERATOR = 60  # characters of a generator's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """The tool that signs a document. We take its word: nothing in these formats proves it."""

    name: str = ""
    version: str = ""

    @property
    def engine(self) -> Engine | None:
        return _TOOLS.get(self.name.lower())

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()[:_GENERATOR] or "unknown generator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a document says of the image it is about. None for what it leaves out."""

    system: OperatingSystem | None = None
    digest: str | None = None
    platform: str | None = None
    diff_ids: tuple[str, ...] = ()  # of the layers, lowest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a sensor's envelope tells of one engine."""

    engine: Engine
    provider: str
    report: EngineReport

    @property
    def is_silent(self) -> bool:
        report = self.report
        return not (report.packages or report.findings or report.misconfigurations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What a sensor found with several engines. `is_partial`: not all of them succeeded, and it does not say which."""

    told: tuple[Told, ...]
    layers: tuple[LayerRecord, ...] = ()
    size_bytes: int = 0
    is_partial: bool = False
    is_failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedReport:
    """`report` is what the document lists."""

    format: ReportFormat
    generator: Generator
    subject: Subject
    report: EngineReport
    envelope: Envelope | None = None
    observation: Observation | None = None  # of one of our own sensors, which leaves judging to us

    @property
    def engine(self) -> Engine | None:
        """The engine whose tool it was; None for any other tool."""
        return self.generator.engine

    @property
    def source(self) -> str:
        """What its packages and findings name as their source. Only the engines' own tools have their names there."""
        return (self.engine or self.format).value

    @property
    def provider(self) -> str:
        """Who answered: "trivy 0.76.0", "cyclonedx (cdxgen 10.1)"."""
        return str(self.generator) if self.engine else f"{self.format} ({self.generator})"


def named_system(distribution: str, version: str, name: str = "") -> OperatingSystem | None:
    """A distribution by the words of a tool; None for none. `name` is what it calls itself in full, where that is told."""
    distribution = _DISTRIBUTIONS.get(distribution.lower(), distribution.lower())
    if distribution in {"", "none"}:
        return None
    if distribution == "debian":
        version = version.partition(".")[0]  # its os-release has no point releases
    return operating_system(distribution, version, name or _full_name(distribution, version))


def _full_name(distribution: str, version: str) -> str:
    """SUSE files advisories by this name; its VERSION_ID 15.6 is "15 SP6"."""
    if distribution == "opensuse-leap":
        return f"openSUSE Leap {version}"
    if distribution == "sles":
        major, _, pack = version.partition(".")
        return f"SUSE Linux Enterprise Server {major}{f' SP{pack}' if pack else ''}"
    return f"{distribution} {version}".strip()


def digest_of(*stated: object) -> str | None:
    """The first manifest digest among what a tool says: "sha256:…" alone, or after the @ of a reference."""
    for each in stated:
        found = text(each, 600).rpartition("@")[2]
        algorithm, _, value = found.partition(":")
        if algorithm == "sha256" and len(value) == 64 and set(value) <= set("0123456789abcdef"):  # noqa: PLR2004 -- hexadecimal digits of SHA-256
            return found
    return None
