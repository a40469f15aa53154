"""Secrets of an image: what was sighted in its layers and its config, as records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from schema.scans.evidence import SecretRecord
from schema.vulnerabilities.records import Severity
from workers.configuration.config import texts
from workers.oci.layout import HistoryEntry, ImageLayer
from workers.secrets.search import Sighting, redact, search

RECORDS = 1000  # of one image
_TEXT_BYTES = 64 * 1024  # of one variable, label or step that are searched
_ENTRIES = 10_000
_WORST_FIRST = tuple(Severity)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSighting:
    """A secret in a file of a layer. `file` is the file's identity in the image."""

    sighting: Sighting
    path: str
    file: int
    layer: int


class _Text(NamedTuple):
    place: str
    text: str
    layer: int


def file_secrets(
    sightings: Iterable[FileSighting], alive: frozenset[int], layers: Sequence[ImageLayer]
) -> list[SecretRecord]:
    """One record of each secret in each path, with the lowest layer: whoever pulls that has it.

    `alive` are the files of the merged image. A secret whose file was copied up and kept is not deleted.
    """
    copies: defaultdict[tuple[str, str, bytes], list[FileSighting]] = defaultdict(list)
    for each in sightings:
        copies[each.sighting.rule.id, each.path, each.sighting.fingerprint].append(each)
    records = []
    for found in copies.values():
        lowest = min(found, key=lambda each: (each.layer, each.sighting.line))
        records.append(
            _record(
                lowest.sighting,
                path=lowest.path,
                line=lowest.sighting.line,
                layer=lowest.layer,
                layers=layers,
                deleted=not any(each.file in alive for each in found),
            )
        )
    return records


def config_secrets(
    config: dict[str, Any], history: Iterable[HistoryEntry], layers: Sequence[ImageLayer]
) -> list[SecretRecord]:
    """Secrets in variables, labels, commands and steps of the history; one that stands in several, in the first."""
    records, known = [], set()
    for place, text, layer in _config_texts(config, history):
        for sighting in search(text[:_TEXT_BYTES].encode("utf-8", "replace")):
            key = sighting.rule.id, sighting.fingerprint
            if key not in known:
                known.add(key)
                records.append(_record(sighting, place=place, layer=layer, layers=layers))
    return records


def order(records: Iterable[SecretRecord]) -> tuple[SecretRecord, ...]:
    """The most severe first, then by place."""
    return tuple(
        sorted(
            records,
            key=lambda each: (
                _WORST_FIRST.index(each.severity),
                each.path,
                each.place,
                each.line or 0,
                each.rule,
                each.masked,
            ),
        )
    )


def _config_texts(config: dict[str, Any], history: Iterable[HistoryEntry]) -> Iterator[_Text]:
    for variable in texts(config.get("Env")):
        yield _Text(f"ENV {redact(variable.partition('=')[0])[:200]}", variable, -1)
    labels = config.get("Labels")
    for name, value in list(labels.items())[:_ENTRIES] if isinstance(labels, dict) else ():
        if isinstance(value, str):
            yield _Text(f"LABEL {redact(str(name))[:200]}", f"{name}={value}", -1)
    for name in ("Entrypoint", "Cmd", "OnBuild"):
        if words := texts(config.get(name)):
            yield _Text(name.upper(), " ".join(words), -1)
    for number, step in enumerate(history, 1):
        layer = -1 if step.layer_index is None else step.layer_index
        yield _Text(f"history step {number}", step.created_by, layer)
        yield _Text(f"history step {number}", step.comment, layer)


def _record(
    sighting: Sighting,
    *,
    layer: int,
    layers: Sequence[ImageLayer],
    path: str = "",
    place: str = "",
    line: int | None = None,
    deleted: bool = False,
) -> SecretRecord:
    known = 0 <= layer < len(layers)
    return SecretRecord(
        rule=sighting.rule.id,
        title=sighting.rule.title,
        severity=sighting.rule.severity,
        path=path,
        place=place,
        line=line,
        masked=sighting.masked,
        layer_digest=layers[layer].diff_id if known else "",
        layer_index=layer if known else -1,
        deleted=deleted,
    )
