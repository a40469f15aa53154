"""What the runs of tools and of the native provider mean for each requested engine. Pure.

- A tool that is there answers for its engine; one that fails fails alone, and nobody stands in for it.
- The native provider stands in where a tool is not there, and for the vulnerabilities of one that has no database.
- Where tools judge packages and none lists them, the native provider's list is the scan's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from schema.scans.ingest import EngineResult
from schema.scans.merging import Voice
from schema.scans.models import Engine, EngineRunStatus
from schema.scans.rules import PACKAGE_ENGINES, VULNERABILITY_ENGINES
from workers.engines.answer import EngineAnswer
from workers.engines.native import SOURCE, NativeRun, stand_in
from workers.engines.tools import NO_DATABASE, Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """`judged`: some vulnerability engine has a result; `judged_by_tool`: one of them by a tool's own database."""

    engines: tuple[EngineResult, ...]
    voices: tuple[Voice, ...]
    judged: bool
    judged_by_tool: bool
    ungraded: str | None = None  # why nobody may grade this, whatever else there is

    @property
    def answered(self) -> frozenset[str]:
        """The sources that looked for vulnerabilities, with data to judge by."""
        return frozenset(voice.source for voice in self.voices if voice.engines)


def stand_ins(tools: Mapping[Engine, Tool], *, fallback: bool) -> tuple[Engine, ...]:
    """The engines the native provider answers for, in part or as a whole."""
    return tuple(engine for engine, tool in tools.items() if fallback and (tool.problem is not None or tool.is_blind))


def conclude(
    requested: Sequence[Engine],
    tools: Mapping[Engine, Tool],
    answers: Mapping[Engine, EngineAnswer],
    native: NativeRun | None,
) -> Conclusion:
    """`native` is None when the native provider does not answer."""
    answered = stand_ins({engine: tools[engine] for engine in requested}, fallback=native is not None)
    by_tool = any(answer.report is not None and answer.report.findings is not None for answer in _judging(answers))
    by_native = native is not None and native.judged and any(each in VULNERABILITY_ENGINES for each in answered)
    return Conclusion(
        engines=tuple(_result(tools[engine], answers.get(engine), native) for engine in requested),
        voices=(*_native_voice(answered, native, unlisted=_is_unlisted(answers)), *_voices(requested, answers)),
        judged=by_tool or by_native,
        judged_by_tool=by_tool,
        ungraded=_ungraded(answers),
    )


def _ungraded(answers: Mapping[Engine, EngineAnswer]) -> str | None:
    unjudged = {
        engine: each.report.unjudged for engine, each in answers.items() if each.report and each.report.unjudged
    }
    found = ", ".join(f"{engine.value} ({count} findings)" for engine, count in unjudged.items())
    return f"Flaws in packages of kinds that are not read here were found by {found}" if found else None


def _judging(answers: Mapping[Engine, EngineAnswer]) -> Iterable[EngineAnswer]:
    return (answer for engine, answer in answers.items() if engine in VULNERABILITY_ENGINES)


def _is_unlisted(answers: Mapping[Engine, EngineAnswer]) -> bool:
    reports = [answer.report for answer in answers.values() if answer.report is not None]
    return any(each.findings is not None for each in reports) and all(each.packages is None for each in reports)


def _native_voice(answered: Sequence[Engine], native: NativeRun | None, *, unlisted: bool) -> Iterable[Voice]:
    if native is None:
        return
    judged = tuple(engine for engine in answered if engine in VULNERABILITY_ENGINES)
    listed = unlisted or judged or any(engine in PACKAGE_ENGINES for engine in answered)
    configuration = native.configuration
    if listed or configuration is not None:
        yield Voice(
            source=SOURCE,
            engines=judged if native.judged else (),
            packages=native.inventory.packages if listed else (),
            findings=native.findings if judged else (),
            misconfigurations=configuration.misconfigurations if configuration else (),
            secrets=configuration.secrets if configuration else (),
        )


def _voices(requested: Iterable[Engine], answers: Mapping[Engine, EngineAnswer]) -> Iterable[Voice]:
    for engine in requested:
        report = answers[engine].report if engine in answers else None
        if report is not None:
            yield Voice(
                source=engine.value,
                engines=() if report.findings is None else (engine,),
                packages=report.packages or (),
                findings=report.findings or (),
                misconfigurations=report.misconfigurations,
                secrets=report.secrets,
            )


def _result(tool: Tool, answer: EngineAnswer | None, native: NativeRun | None) -> EngineResult:
    if answer is None:
        return stand_in(tool.engine, tool.absence, native)
    run = EngineResult(
        engine=tool.engine,
        status=EngineRunStatus.FAILED,
        provider=tool.provider,
        message=answer.failure and f"{tool.provider} {answer.failure}",
        database_date=tool.database_date,
        started_at=answer.started_at,
        duration_ms=answer.duration_ms,
        output=answer.output,
    )
    report = answer.report
    if report is None:
        return run
    run = replace(
        run,
        status=EngineRunStatus.COMPLETE,
        finding_count=len(report.misconfigurations if report.findings is None else report.findings),
        package_count=len(report.packages or ()),
        message=None if answer.output is not None else "What it printed is larger than what is kept",
    )
    return with_native_judgement(run, f"{tool.name} {NO_DATABASE}", native) if tool.is_blind else run


def with_native_judgement(run: EngineResult, absence: str, native: NativeRun | None) -> EngineResult:
    """The run of a tool that judged nothing, which `absence` says, with what the native provider judged instead."""
    if native is None:
        return replace(run, finding_count=0, message=f"{absence}, so it judged no vulnerabilities")
    judgement = stand_in(run.engine, absence, native)
    return replace(
        run,
        message=judgement.message,
        database_date=judgement.database_date,
        coverage=judgement.coverage,
        finding_count=judgement.finding_count,
    )
