"""Scans as the schema shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, TypeAlias, cast

import strawberry

from schema.documents.formats import DocumentFormat
from schema.documents.intoto import StatementPredicate
from schema.documents.repository import load_contents
from schema.documents.types import (
    Document,
    FormatArgument,
    PerEngine,
    PredicateArgument,
    SbomArgument,
    SbomFormat,
    admit,
    sign,
    signer_of,
    write,
)
from schema.execution.lookahead import wanted
from schema.kernel.arguments import AfterCursor, PageLimit, PageNumber, SearchText
from schema.kernel.listing import Listing
from schema.kernel.operations import Info
from schema.kernel.pagination import Page, PageRequest, page_request
from schema.kernel.rows import part_of_source, resolved_field
from schema.kernel.scalars import Long
from schema.scans import repository
from schema.scans.enums import CheckLevel, Engine, EngineRunStatus, FailureCode, ScanOrigin, ScanPhase, ScanStatus
from schema.statements.repository import statements_of
from schema.statements.types import ImageStatement
from schema.vulnerabilities.enums import Grade, PackageType, Severity
from schema.vulnerabilities.repository import list_findings
from schema.vulnerabilities.types import Flaw, SeverityCounts


@strawberry.enum(description="Status filter; PENDING means QUEUED and COMPLETED means COMPLETE.")
class ScanStatusFilter(Enum):
    QUEUED = "QUEUED"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    PENDING = "PENDING"
    COMPLETED = "COMPLETED"

    @property
    def status(self) -> ScanStatus:
        alias = {"PENDING": ScanStatus.QUEUED, "COMPLETED": ScanStatus.COMPLETE}
        return alias.get(self.value) or ScanStatus(self.value)


@strawberry.type(description="How many packages of an ecosystem were found, and what advisory data there was for them.")
class EcosystemCoverage:
    ecosystem: str = strawberry.field(description="As OSV names it: `Debian:12`, `PyPI`, `npm`.")
    packages: int = strawberry.field(description="Packages found.")
    advisories: int = strawberry.field(description="Advisories held for this ecosystem; 0 means nothing can be said.")
    covered: bool = strawberry.field(description="Whether there was data to judge these packages by.")
    sample: bool = strawberry.field(description="Whether that data was only the demonstration's small sample.")


@strawberry.type(description="One requested engine of one scan.")
class EngineRun:
    engine: Engine = strawberry.field(description="The engine asked for.")
    status: EngineRunStatus = strawberry.field(description="How its run ended, or stands.")
    provider: str | None = strawberry.field(description="Who answered: `native 0.1.0`, `syft 1.18.1`; null: nobody.")
    message: str | None = strawberry.field(description="Why it was skipped or failed, or who stood in for it.")
    database_date: datetime | None = strawberry.field(description="Date of the advisory data it used.")
    finding_count: int = strawberry.field(description="Findings it reported.")
    package_count: int = strawberry.field(description="Packages it reported.")
    started_at: datetime | None = strawberry.field(description="When it began.")
    duration_ms: int | None = strawberry.field(description="How long it took, in milliseconds.")

    @resolved_field(description="What it could judge, by ecosystem.", reads=("coverage",))
    def coverage(self) -> list[EcosystemCoverage]:
        return [EcosystemCoverage(**entry) for entry in cast("Any", self).coverage]


@strawberry.type(description="What a provider printed, as evidence.")
class EngineOutput:
    media_type: str = strawberry.field(description="Usually `application/json`.")
    content: str = strawberry.field(description="The output.")


@strawberry.type(description="A vulnerability as one scan saw it; `sources` are those of this scan.")
class Finding(Flaw):
    id: strawberry.ID = strawberry.field(description="`fnd-…`.")
    vulnerability_id: strawberry.ID = strawberry.field(description="The vulnerability it is a sighting of.")
    engines: list[str] = strawberry.field(description="Requested engines those providers answered for.")
    is_new: bool = strawberry.field(
        description="The scan of the same tag before had no such flaw in that package, whatever its version."
    )
    path: str = strawberry.field(description="File in the image that proves the package.")
    layer_digest: str = strawberry.field(description="Diff id of the layer that put it there.")
    layer_index: int = strawberry.field(description="0 is the lowest layer.")


@strawberry.type(description="A package of a scanned image.")
class Package:
    id: strawberry.ID = strawberry.field(description="`pkg-…`.")
    name: str = strawberry.field(description="Name.")
    version: str = strawberry.field(description="Version.")
    type: PackageType = strawberry.field(description="Kind of package.")
    ecosystem: str | None = strawberry.field(description="OSV ecosystem its advisories are filed under.")
    source_name: str = strawberry.field(description="Source package a distribution's advisories name.")
    source_version: str = strawberry.field(description="Version of that source package.")
    purl: str = strawberry.field(description="Package URL.")
    licenses: list[str] = strawberry.field(description="Licences, SPDX ids where known.")
    architecture: str | None = strawberry.field(description="Architecture, where the database states one.")
    path: str = strawberry.field(description="File in the image that proves it.")
    layer_digest: str = strawberry.field(description="Diff id of the layer that put it there.")
    layer_index: int = strawberry.field(description="0 is the lowest layer.")
    sources: list[str] = strawberry.field(description="Providers that reported it.")
    owner: str | None = strawberry.field(
        description="Of a language's package: the distribution's package that brought it, and is judged in its place."
    )


@strawberry.type(description="A failed check of an image's config, history or files.")
class Misconfiguration:
    id: strawberry.ID = strawberry.field(description="`mis-…`.")
    check_id: str = strawberry.field(description="Published id of the check: `CIS-DI-0001`, `DKL-DI-0005`.")
    title: str = strawberry.field(description="One line on what is wrong.")
    level: CheckLevel = strawberry.field(description="How much it matters, in Dockle's words.")
    severity: Severity = strawberry.field(description="The same on the scale of vulnerabilities.")
    evidence: list[str] = strawberry.field(description="What was found, a line each; secrets in it are masked.")
    remediation: str = strawberry.field(description="What to do.")
    path: str = strawberry.field(description="File in the image; empty for what the config says.")
    layer_digest: str = strawberry.field(description="Diff id of that file's layer, empty without a file.")
    layer_index: int = strawberry.field(description="0 is the lowest layer; -1 without a file.")
    sources: list[str] = strawberry.field(description="Providers that reported it, each once.")


@strawberry.type(description="A secret in a layer or in the config. It is never stored or shown but for its mask.")
class Secret:
    id: strawberry.ID = strawberry.field(description="`sec-…`.")
    rule: str = strawberry.field(description="The rule it was found by: `aws-access-key-id`.")
    title: str = strawberry.field(description="What it is.")
    severity: Severity = strawberry.field(description="How bad it is that it lies there.")
    masked: str = strawberry.field(description="All that is shown of it.")
    path: str = strawberry.field(description="File in the image; empty for the config.")
    line: int | None = strawberry.field(description="1 is the first line; null where there are none.")
    place: str = strawberry.field(description="Where the config holds it: `ENV API_KEY`; empty for a file.")
    deleted: bool = strawberry.field(
        description="A later layer removes or replaces the file: gone from the container, still in the image."
    )
    layer_digest: str = strawberry.field(description="Diff id of the lowest layer that has it.")
    layer_index: int = strawberry.field(description="0 is the lowest layer.")
    sources: list[str] = strawberry.field(description="Providers that reported it, each once.")


@strawberry.type(description="A configuration check that could be decided for this image.")
class CheckOutcome:
    check_id: str = strawberry.field(description="Published id of the check.")
    failures: int = strawberry.field(description="How often it failed; 0: it passed.")


@strawberry.type(description="A path that takes space in several layers although one copy at most is seen.")
class WastedFile:
    path: str = strawberry.field(description="The path.")
    count: int = strawberry.field(description="How many layers name it, deletions included.")
    bytes: Long = strawberry.field(description="Over all copies.")


@strawberry.type(description="What one layer brings.")
class LayerUsage:
    index: int = strawberry.field(description="0 is the lowest layer.")
    diff_id: str = strawberry.field(description="Digest of the uncompressed layer.")
    bytes: Long = strawberry.field(description="Of its files.")
    added: int = strawberry.field(description="Files that are new.")
    changed: int = strawberry.field(description="Files that replace one below.")
    removed: int = strawberry.field(description="Files of layers below that it deletes.")


@strawberry.type(description="Wasted space, by Dive's definition.")
class ImageEfficiency:
    total_bytes: Long = strawberry.field(description="Of all files in all layers.")
    wasted_bytes: Long = strawberry.field(description="Of copies nobody sees.")
    efficiency: float = strawberry.field(description="0.0-1.0; 1.0: nothing is wasted.")
    layers: list[LayerUsage] = strawberry.field(description="What each layer brings, lowest first.")
    wasted_files: list[WastedFile] = strawberry.field(description="The largest first, as far as they are listed.")


@strawberry.type(description="One layer of a scanned image, lowest first.")
class Layer:
    index: int = strawberry.field(description="0 is the lowest layer.")
    digest: str = strawberry.field(description="Digest of the blob as stored.")
    diff_id: str = strawberry.field(description="Digest of the uncompressed layer.")
    size_bytes: Long = strawberry.field(description="Bytes as stored.")
    diff_size_bytes: Long = strawberry.field(description="Bytes unpacked.")
    file_count: int = strawberry.field(description="Files and links it holds.")
    created_by: str = strawberry.field(description="The build step, as the image's history tells it.")


@strawberry.type(description="A line of a scan's log.")
class ScanLogLine:
    sequence: int = strawberry.field(description="Number of the line, from 1.")
    at: datetime = strawberry.field(description="When.")
    level: str = strawberry.field(description="info, warning or error.")
    message: str = strawberry.field(description="What happened.")


SeveritySort: TypeAlias = Annotated[str | None, strawberry.argument(description="severity; default severity:desc.")]
AnySeverity: TypeAlias = Annotated[list[Severity] | None, strawberry.argument(description="Any of these.")]


async def _sighted(
    info: Info,
    listing: Listing,
    scan_id: str,
    request: PageRequest,
    severities: list[Severity] | None,
    search: str | None,
) -> Page[Any]:
    info.context.principal.require("vulnerabilities:view")
    async with info.context.read() as session:
        return await repository.list_sighted(
            session,
            listing,
            info.context.organization_id,
            scan_id,
            request,
            severities=severities,
            search=search,
            wanted=wanted(info, "items"),
        )


async def _evidence(info: Info, scan_id: str) -> Any:
    async with info.context.read() as session:
        return await repository.evidence(session, info.context.organization_id, scan_id)


@strawberry.type(description="One run of engines over one image.")
class Scan:
    id: strawberry.ID = strawberry.field(description="`scn-…`.")
    image: str = strawberry.field(description="The reference that is scanned, in full.")
    image_id: strawberry.ID = strawberry.field(description="The image in the catalogue.")
    tag_id: strawberry.ID | None = strawberry.field(description="The tag in the catalogue; null for a digest.")
    digest: str | None = strawberry.field(description="Manifest digest captured when the image was fetched.")
    platform: str | None = strawberry.field(description="Platform, like `linux/amd64`.")
    scanners: list[Engine] = strawberry.field(description="Engines asked for.")
    origin: ScanOrigin = strawberry.field(description="Who scans.")
    status: ScanStatus = strawberry.field(description="How it stands.")
    phase: ScanPhase = strawberry.field(description="What it is doing.")
    progress: int = strawberry.field(description="0-100 over the whole scan.")
    partial: bool = strawberry.field(description="Complete, though some engine failed.")
    priority: int = strawberry.field(description="-10 to 10; higher runs first.")
    grade: Grade | None = strawberry.field(description="A-D; null while, or when, it cannot be judged.")
    grade_reason: str | None = strawberry.field(description="Why there is no grade.")
    risk_score: int | None = strawberry.field(description="0-100; null without a grade's evidence.")
    counts: SeverityCounts = part_of_source(description="Open findings by severity.")
    fixable: int = strawberry.field(description="Findings with a fixed version.")
    kev: int = strawberry.field(description="Findings known to be exploited.")
    package_count: int = strawberry.field(description="Packages found.")
    misconfiguration_count: int = strawberry.field(description="Failed configuration checks.")
    secret_count: int = strawberry.field(description="Secrets found in layers and config.")
    compared_with: strawberry.ID | None = strawberry.field(
        description="The scan of the same tag before this one, which the next three compare with."
    )
    new_count: int | None = strawberry.field(description="Findings whose flaw that scan did not have in that package.")
    fixed_count: int | None = strawberry.field(
        description="Findings it had that are gone; null when this scan could not judge the whole image."
    )
    fix_available_count: int | None = strawberry.field(description="Findings that have got a fixed version meanwhile.")
    read_by: strawberry.ID = strawberry.field(
        description="The scan that read the image: another one where the image had not changed."
    )
    found_by: strawberry.ID = strawberry.field(
        description="The scan that judged it: another one where neither the image nor any data had changed."
    )
    failure_code: FailureCode | None = strawberry.field(description="Why it failed, for programs.")
    failure_reason: str | None = strawberry.field(description="Why it failed, for people.")
    duration_ms: int | None = strawberry.field(description="From start to end, in milliseconds.")
    requested_by: str = strawberry.field(description="Who asked: kind and id of the actor.")
    created_at: datetime = strawberry.field(description="When it was asked for.")
    started_at: datetime | None = strawberry.field(description="When a worker began.")
    scanned_at: datetime | None = strawberry.field(description="When it ended.")

    @resolved_field(description="The requested engines, in request order.", reads=("id", "scanners"))
    async def engines(self, info: Info) -> list[EngineRun]:
        async with info.context.read() as session:
            rows = await repository.engine_runs(session, info.context.organization_id, self.id)
        return cast("list[EngineRun]", sorted(rows, key=lambda row: self.scanners.index(row.engine)))

    @resolved_field(description="What the scan found, worst first.", reads=("id", "found_by"))
    async def findings(
        self,
        info: Info,
        page: PageNumber = None,
        limit: PageLimit = None,
        sort: SeveritySort = None,
        after: AfterCursor = None,
        search: SearchText = None,
        severity: AnySeverity = None,
        fixable: Annotated[bool | None, strawberry.argument(description="Only with, or without, a fix.")] = None,
        new: Annotated[bool | None, strawberry.argument(description="Only what is new, or only what is not.")] = None,
    ) -> Page[Finding]:
        info.context.principal.require("vulnerabilities:view")
        async with info.context.read() as session:
            return await list_findings(
                session,
                info.context.organization_id,
                self.found_by,
                page_request(page=page, limit=limit, sort=sort, after=after),
                seen_in=self.id,
                severities=severity,
                fixable=fixable,
                new=new,
                search=search,
                wanted=wanted(info, "items"),
            )

    @resolved_field(description="Failed configuration checks, worst first.", reads=("read_by",))
    async def misconfigurations(
        self,
        info: Info,
        page: PageNumber = None,
        limit: PageLimit = None,
        sort: SeveritySort = None,
        after: AfterCursor = None,
        search: SearchText = None,
        severity: AnySeverity = None,
    ) -> Page[Misconfiguration]:
        request = page_request(page=page, limit=limit, sort=sort, after=after)
        return await _sighted(info, repository.MISCONFIGURATIONS, self.read_by, request, severity, search)

    @resolved_field(description="Secrets in layers and config, worst first.", reads=("read_by",))
    async def secrets(
        self,
        info: Info,
        page: PageNumber = None,
        limit: PageLimit = None,
        sort: SeveritySort = None,
        after: AfterCursor = None,
        search: SearchText = None,
        severity: AnySeverity = None,
    ) -> Page[Secret]:
        request = page_request(page=page, limit=limit, sort=sort, after=after)
        return await _sighted(info, repository.SECRETS, self.read_by, request, severity, search)

    @resolved_field(description="The configuration checks that could be decided, failed or passed.", reads=("read_by",))
    async def checks(self, info: Info) -> list[CheckOutcome]:
        evidence = await _evidence(info, self.read_by)
        return [CheckOutcome(**each) for each in evidence.checks] if evidence else []

    @resolved_field(description="Wasted space; null when the engine `dive` was not asked.", reads=("read_by",))
    async def efficiency(self, info: Info) -> ImageEfficiency | None:
        evidence = await _evidence(info, self.read_by)
        if evidence is None or evidence.efficiency is None:
            return None
        stored = evidence.efficiency
        return ImageEfficiency(
            **stored
            | {
                "layers": [LayerUsage(**each) for each in stored["layers"]],
                "wasted_files": [WastedFile(**each) for each in stored["wasted_files"]],
            }
        )

    @resolved_field(description="What the image consists of, by name.", reads=("read_by",))
    async def packages(
        self,
        info: Info,
        page: PageNumber = None,
        limit: PageLimit = None,
        sort: Annotated[str | None, strawberry.argument(description="name; default name:asc.")] = None,
        after: AfterCursor = None,
        search: SearchText = None,
        type: Annotated[list[PackageType] | None, strawberry.argument(description="Any of these.")] = None,
    ) -> Page[Package]:
        async with info.context.read() as session:
            return await repository.list_packages(
                session,
                info.context.organization_id,
                self.read_by,
                page_request(page=page, limit=limit, sort=sort, after=after),
                types=type,
                search=search,
                wanted=wanted(info, "items"),
            )

    @resolved_field(description="The image's layers, lowest first.", reads=("read_by",))
    async def layers(self, info: Info) -> list[Layer]:
        async with info.context.read() as session:
            found = await repository.layers(session, info.context.organization_id, self.read_by)
        return cast("list[Layer]", found)

    @resolved_field(description="The log, oldest first, at most 1,000 lines.")
    async def logs(
        self,
        info: Info,
        after: Annotated[int | None, strawberry.argument(description="Only lines after this sequence number.")] = None,
    ) -> list[ScanLogLine]:
        async with info.context.read() as session:
            found = await repository.log_lines(session, info.context.organization_id, self.id, after=after or 0)
        return cast("list[ScanLogLine]", found)

    @resolved_field(
        description="What the provider of an engine printed. NOT_FOUND when it printed nothing.",
        reads=("id", "found_by", "read_by"),
    )
    async def engine_output(
        self, info: Info, engine: Annotated[Engine, strawberry.argument(description="A requested engine.")]
    ) -> EngineOutput:
        async with info.context.read() as session:
            scans = list(dict.fromkeys((self.id, self.found_by, self.read_by)))
            output = await repository.engine_output(session, info.context.organization_id, scans, engine)
        return EngineOutput(media_type=output.media_type, content=output.content)

    @resolved_field(
        description=(
            "The scan in a standard's format. CONFLICT for a scan that is not COMPLETE; every format but spdx needs "
            "`vulnerabilities:view`."
        )
    )
    async def document(self, info: Info, format: FormatArgument, *, per_engine: PerEngine = False) -> Document:
        admit(info.context, format)
        async with info.context.read() as session:
            contents = await load_contents(session, info.context.organization_id, self.id)
        return await write(contents, format, per_engine=per_engine)

    @resolved_field(description="The bill of materials: `document` of a format made for that. CONFLICT as there.")
    async def sbom(self, info: Info, format: SbomArgument = SbomFormat.CYCLONEDX) -> Document:
        wanted_format = DocumentFormat(format.value)
        admit(info.context, wanted_format)
        async with info.context.read() as session:
            contents = await load_contents(session, info.context.organization_id, self.id)
        return await write(contents, wanted_format)

    @resolved_field(
        description=(
            "The scan as an in-toto statement in a signed DSSE envelope. CONFLICT while it is not COMPLETE, knows no digest, "
            "or, for `vulns`, could not judge all packages; also where the operator gave no key. Needs `vulnerabilities:view`."
        )
    )
    async def statement(self, info: Info, predicate: PredicateArgument = StatementPredicate.VULNS) -> Document:
        info.context.principal.require("vulnerabilities:view")
        signer = signer_of(info.context)
        async with info.context.read() as session:
            contents = await load_contents(session, info.context.organization_id, self.id)
        return await sign(contents, predicate, signer)

    @resolved_field(
        description="Signed statements that lay beside the image in its registry. Looked for once a key is trusted."
    )
    async def image_statements(self, info: Info) -> list[ImageStatement]:
        async with info.context.read() as session:
            found = await statements_of(session, info.context.organization_id, self.id)
        return cast("list[ImageStatement]", found)


@strawberry.type(description="How an engine of a running scan stands.")
class EngineProgress:
    engine: Engine = strawberry.field(description="The engine.")
    status: EngineRunStatus = strawberry.field(description="How it stands.")
    provider: str | None = strawberry.field(description="Who answers.")
    message: str | None = strawberry.field(description="Why it was skipped or failed, or who stands in.")
    started_at: datetime | None = strawberry.field(description="When it began; null while it waits.")
    elapsed_ms: int | None = strawberry.field(description="How long it has been running, or took, in milliseconds.")


@strawberry.type(description="A scan's state at one moment; the last one of a stream is final.")
class ScanProgress:
    id: strawberry.ID = strawberry.field(description="The scan.")
    status: ScanStatus = strawberry.field(description="How it stands.")
    phase: ScanPhase = strawberry.field(description="What it is doing.")
    progress: int = strawberry.field(description="0-100.")
    elapsed_ms: int | None = strawberry.field(description="How long it has been running, or took, in milliseconds.")
    message: str | None = strawberry.field(description="The latest line of its log.")
    log: list[ScanLogLine] = strawberry.field(description="The last lines of its log, at most 10, oldest first.")
    engines: list[EngineProgress] = strawberry.field(description="The engines.")
    grade: Grade | None = strawberry.field(description="The grade, once there is one.")
    risk_score: int | None = strawberry.field(description="0-100, once there is one.")
    failure_reason: str | None = strawberry.field(description="Why it failed.")

    @classmethod
    def of(cls, scan: Any, runs: Sequence[Any], log: Sequence[Any], *, now: datetime) -> ScanProgress:
        started = datetime.fromisoformat(scan.started_at) if scan.status == ScanStatus.IN_PROGRESS else None
        return cls(
            id=strawberry.ID(scan.id),
            status=scan.status,
            phase=scan.phase,
            progress=scan.progress,
            elapsed_ms=_elapsed_ms(started, scan.duration_ms, now),
            message=log[-1].message if log else None,
            log=cast("list[ScanLogLine]", log),
            engines=[
                EngineProgress(
                    engine=run.engine,
                    status=run.status,
                    provider=run.provider,
                    message=run.message,
                    started_at=run.started_at,
                    elapsed_ms=_elapsed_ms(
                        run.started_at if run.status is EngineRunStatus.RUNNING else None, run.duration_ms, now
                    ),
                )
                for run in sorted(runs, key=lambda run: scan.scanners.index(run.engine))
            ],
            grade=scan.grade,
            risk_score=scan.risk_score,
            failure_reason=scan.failure_reason,
        )


def _elapsed_ms(running_since: datetime | None, duration_ms: int | None, now: datetime) -> int | None:
    return duration_ms if running_since is None else max(0, int((now - running_since).total_seconds() * 1000))
