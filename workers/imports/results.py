"""What an imported report means for the engines of its scan. Pure.

- A report of one of our engines' tools is that engine's answer.
- Of any other tool the packages are an answer for `syft` and the findings one for `osv`, with the tool as the provider:
  an engine is what is asked for, never who answered. Their source is the format.
- A sensor's envelope has the answers of several engines, each told by its name.
- Where a report judges nothing the native provider judges its packages, for the same engine or else for `osv`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from schema.scans.ingest import EngineResult
from schema.scans.merging import Voice
from schema.scans.models import Engine, EngineRunStatus
from schema.scans.rules import VULNERABILITY_ENGINES
from workers.engines.native import SOURCE, NativeRun, stand_in
from workers.engines.results import Conclusion, with_native_judgement
from workers.imports.report import Envelope, ImportedReport

_LISTS, _JUDGES = Engine.SYFT, Engine.OSV  # the engines that stand for any other tool's packages, and its findings
_ABSENCE = "the report names no vulnerabilities"
_MAY_HAVE_FAILED = "Not every engine of the sensor succeeded, and this one told nothing; the sensor does not say why"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the report was read. Its evidence is None where that is more than is kept."""

    started_at: datetime
    duration_ms: int
    evidence: bytes | None


def conclude_import(imported: ImportedReport, reading: Reading, native: NativeRun | None) -> Conclusion:
    """`native` is None when the report judges, or when the native provider may not."""
    report = imported.report
    packages = report.packages
    if packages is None:  # those it found something in are all it tells of
        packages = tuple(dict.fromkeys(finding.package for finding in report.findings or ()))
    judged = report.findings is not None
    engines = tuple(_runs(imported, len(packages), reading, native))
    judges = tuple(run.engine for run in engines if run.engine in VULNERABILITY_ENGINES)
    voices = [
        Voice(
            source=imported.source,
            engines=judges if judged else (),
            packages=packages,
            findings=report.findings or (),
            misconfigurations=report.misconfigurations,
            secrets=report.secrets,
        )
    ]
    if native is not None and native.judged:
        voices.insert(0, Voice(source=SOURCE, engines=judges, findings=native.findings))
    return Conclusion(
        engines=engines,
        voices=tuple(voices),
        judged=judged or (native is not None and native.judged),
        judged_by_tool=judged,
        ungraded=_ungraded(imported),
    )


def conclude_envelope(
    imported: ImportedReport, envelope: Envelope, requested: Sequence[Engine], reading: Reading
) -> Conclusion:
    """What a sensor's envelope means for the engines that were asked for, and for those that have spoken.

    Where not all have succeeded, it does not tell which: of what has said nothing nobody knows that it has looked.
    """
    told = {each.engine: each for each in envelope.told}
    engines = [*dict.fromkeys((*requested, *told))]
    runs, voices = [], []
    for engine in engines:
        each = told.get(engine)
        silent = each is None or each.is_silent
        failed = envelope.is_partial and silent
        runs.append(
            EngineResult(
                engine=engine,
                status=EngineRunStatus.FAILED if failed else EngineRunStatus.COMPLETE,
                provider=each.provider if each else engine.value,
                message=_MAY_HAVE_FAILED if failed else f"Told by {imported.provider}",
                finding_count=0
                if each is None
                else len(each.report.misconfigurations if each.report.findings is None else each.report.findings),
                package_count=len(each.report.packages or ()) if each else 0,
                started_at=reading.started_at,
                duration_ms=reading.duration_ms,
            )
        )
        judged = not failed and engine in VULNERABILITY_ENGINES
        voices.append(
            Voice(
                source=engine.value,
                engines=(engine,) if judged else (),
                packages=(each.report.packages or ()) if each else (),
                findings=(each.report.findings or ()) if each else (),
                misconfigurations=each.report.misconfigurations if each else (),
            )
        )
    if runs:
        runs[0] = replace(runs[0], output=reading.evidence)
    by_tool = any(voice.engines for voice in voices)
    return Conclusion(
        engines=tuple(runs),
        voices=tuple(voices),
        judged=by_tool,
        judged_by_tool=by_tool,
        ungraded=_ungraded(imported),
    )


def _ungraded(imported: ImportedReport) -> str | None:
    unjudged = imported.report.unjudged
    return f"{unjudged} findings of the report could not be taken over" if unjudged else None


def _runs(imported: ImportedReport, packages: int, reading: Reading, native: NativeRun | None) -> list[EngineResult]:
    report, engine = imported.report, imported.engine
    judged = report.findings is not None
    answer = EngineResult(
        engine=engine or (_JUDGES if judged else _LISTS),
        status=EngineRunStatus.COMPLETE,
        provider=imported.provider,
        message=f"Imported from a report in the format {imported.format.label}",
        finding_count=len(report.findings or ()),
        package_count=packages,
        started_at=reading.started_at,
        duration_ms=reading.duration_ms,
        output=reading.evidence,
    )
    if judged:
        listed = engine is None and report.packages is not None
        return [*([replace(answer, engine=_LISTS, finding_count=0, output=None)] if listed else []), answer]
    if answer.engine in VULNERABILITY_ENGINES:
        return [with_native_judgement(answer, _ABSENCE, native)]
    return [answer, stand_in(_JUDGES, _ABSENCE, native)]
