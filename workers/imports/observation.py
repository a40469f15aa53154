"""What our own sensors send: an envelope with everything that was seen in the image, for us to judge.

It has the envelope's members that say what it is about, and one more, `observation`. A sensor is no more to be believed
than an image: what comes here has the shape of what our own reading makes, and no column it does not fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from schema.scans.models import Engine
from workers.engines.answer import EngineAnswer
from workers.engines.documents import EngineFailure, Object
from workers.engines.reading import masked
from workers.engines.report import MAX_CHECKS, MAX_FINDINGS, MAX_PACKAGES, EngineReport, at_most
from workers.engines.results import stand_ins
from workers.imports.report import digest_of
from workers.inventory.notes import printable
from workers.observation import Observation

MEMBER = "observation"
_OBSERVATION = TypeAdapter(Observation)
_MAX_LAYERS = 1_000
_MAX_INTEGER, _MAX_SIZE = 2**31 - 1, 2**63 - 1
_SIZES = frozenset({"size", "diff_size", "size_bytes", "bytes", "total_bytes", "wasted_bytes"})
_LONGEST = 4_000
# Of the columns in which these are kept; what is not named here may have `_LONGEST`.
_LENGTHS = {
    "architecture": 40,
    "check_id": 100,
    "created_by": 100_000,  # cut when it is stored
    "diff_id": 140,
    "digest": 140,
    "ecosystem": 100,
    "failure": 1_500,
    "layer_digest": 140,
    "masked": 300,
    "name": 300,
    "operating_system": 200,
    "owner": 300,
    "path": 4_096,
    "place": 300,
    "platform": 60,
    "problem": 1_500,
    "purl": 1_000,
    "remediation": 2_000,
    "rule": 100,
    "source_name": 300,
    "source_version": 300,
    "title": 500,
    "version": 300,
    "vulnerability_id": 60,
    "warnings": 1_500,
}
_PROVIDER = 90  # characters of a tool's name and version


def read(document: Object) -> Observation:
    """Raises EngineFailure for what our own reading would never make."""
    told = _cleaned(document[MEMBER])
    try:
        observation = _OBSERVATION.validate_python(told)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(each) for each in first["loc"])[:100]
        raise EngineFailure(f"wrote an observation that is none: {place}: {first['msg'][:100]}") from None
    _check_engines(observation)
    _check_counts(observation)
    if not (digest_of(observation.image.digest) and observation.image.platform):
        raise EngineFailure("wrote an observation that does not say of which image")
    # An image's own config is kept as it is, whatever is in it.
    for record in (replace(observation.image, config={}), observation.examination, *observation.answers):
        _check_sizes(record)
    return replace(observation, answers=tuple(_masked(answer) for answer in observation.answers))


def _cleaned(value: Any, name: str = "") -> Any:
    """Every text on one printable line, but for what a tool printed, which is kept as it is and never shown as ours."""
    if isinstance(value, str):
        return value.replace("\0", "") if name == "output" else printable(value)
    if isinstance(value, list):
        return [_cleaned(each, name) for each in value]
    if isinstance(value, dict):
        return {printable(key): _cleaned(each, key) for key, each in value.items()}
    return value


def _masked(answer: EngineAnswer) -> EngineAnswer:
    return answer if answer.report is None else replace(answer, report=masked(answer.report))


def _check_engines(observation: Observation) -> None:
    """Each once; whoever answered is there, and the native provider has what it answers with."""
    tools = {tool.engine: tool for tool in observation.tools}
    answered = {answer.tool.engine for answer in observation.answers}
    if not tools or len(tools) != len(observation.tools) or len(answered) != len(observation.answers):
        raise EngineFailure("wrote an observation that names an engine twice, or none")
    if answered != {engine for engine, tool in tools.items() if tool.problem is None}:
        raise EngineFailure("wrote an observation without the answers of its own tools")
    if any(len(tool.provider) > _PROVIDER or len(tool.absence) > _LENGTHS["problem"] for tool in tools.values()):
        raise EngineFailure("wrote more of its tools than a name and a version")
    if any(answer.report is None and not answer.failure for answer in observation.answers):
        raise EngineFailure("wrote an observation with an answer that says nothing")
    natively = set(stand_ins(tools, fallback=observation.native_fallback))
    examination = observation.examination
    is_whole = examination is not None and not (
        (Engine.DOCKLE in natively and examination.configuration is None)
        or (Engine.DIVE in natively and examination.efficiency is None)
    )
    if not is_whole and (natively or answered):
        raise EngineFailure("wrote an observation that lacks what it says was read")


def _check_counts(observation: Observation) -> None:
    for report in _reports(observation):
        at_most(MAX_PACKAGES, "packages", report.packages or ())
        at_most(MAX_FINDINGS, "findings", report.findings or ())
        at_most(MAX_CHECKS, "checks", report.misconfigurations)
        at_most(MAX_CHECKS, "secrets", report.secrets)
    layers = observation.examination.inventory.layers if observation.examination else ()
    if [layer.index for layer in at_most(_MAX_LAYERS, "layers", layers)] != [*range(len(layers))]:
        raise EngineFailure("wrote an observation whose layers are not in their order")


def _reports(observation: Observation) -> Iterator[EngineReport]:
    yield from (answer.report for answer in observation.answers if answer.report is not None)
    if observation.examination is not None:
        configuration = observation.examination.configuration
        yield EngineReport(
            packages=observation.examination.inventory.packages,
            misconfigurations=configuration.misconfigurations if configuration else (),
            secrets=configuration.secrets if configuration else (),
        )


def _check_sizes(value: Any, name: str = "") -> None:
    """That each text and each number, however deep, fits the column it may go to."""
    if isinstance(value, str):
        if len(value) > _LENGTHS.get(name, _LONGEST):
            raise EngineFailure(f"wrote a {name or 'text'} of more than {_LENGTHS.get(name, _LONGEST)} characters")
    elif isinstance(value, int | float):
        most = _MAX_SIZE if name in _SIZES else _MAX_INTEGER
        if not -most <= value <= most:  # nor is NaN
            raise EngineFailure(f"wrote a number for {name} that is none")
    elif is_dataclass(value):
        for each in fields(value):
            _check_sizes(getattr(value, each.name), each.name)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            _check_sizes(key)
            _check_sizes(each, str(key))
    elif isinstance(value, tuple | list):
        for each in value:
            _check_sizes(each, name)
