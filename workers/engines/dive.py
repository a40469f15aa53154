"""Dive: layers and wasted space. Reads an archive as `docker save` writes it.

Output: the file of `--json` (github.com/wagoodman/dive, runtime/export). Its list of files has an empty entry for every
directory nobody names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from schema.scans.evidence import ImageEfficiency, LayerUsage, WastedFile
from schema.scans.models import Engine
from workers.engines.adapter import Adapter, Call, ImageForm
from workers.engines.documents import EngineFailure, Object, fraction, mapping, objects, path, whole
from workers.engines.report import EngineReport, ImageFacts

_OUTPUT = "report.json"
_WASTED_FILES = 1000  # the largest; of an image that wastes more the sum still counts all
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh."


def _arguments(call: Call) -> Sequence[str]:
    return ("--source", "docker-archive", "--json", _OUTPUT, "--", str(call.image))


def _read(document: Object, facts: ImageFacts) -> EngineReport:
    image = mapping(document.get("image"))
    efficiency = fraction(image.get("efficiencyScore"))
    if efficiency is None or not isinstance(document.get("layer"), list):
        raise EngineFailure("wrote a report without layers")
    return EngineReport(
        efficiency=ImageEfficiency(
            total_bytes=whole(image.get("sizeBytes")),
            wasted_bytes=whole(image.get("inefficientBytes")),
            efficiency=min(max(efficiency, 0.0), 1.0),
            layers=tuple(_layers(document["layer"], facts)),
            wasted_files=tuple(
                sorted(_wasted(image.get("fileReference")), key=lambda each: (-each.bytes, each.path))[:_WASTED_FILES]
            ),
        )
    )


def _layers(listed: object, facts: ImageFacts) -> Iterator[LayerUsage]:
    seen: set[str] = set()
    for index, (layer, diff_id) in enumerate(zip(objects(listed), facts.diff_ids, strict=False)):
        paths = [path(each.get("path")) for each in objects(layer.get("fileList")) if each.get("isDir") is not True]
        names = [each.rpartition("/")[2] for each in paths]
        removed = sum(name.startswith(_WHITEOUT) and not name.startswith(_OPAQUE) for name in names)
        written = {each for each, name in zip(paths, names, strict=True) if each and not name.startswith(_WHITEOUT)}
        changed = len(written & seen)
        yield LayerUsage(
            index=index,
            diff_id=diff_id,
            bytes=whole(layer.get("sizeBytes")),
            added=len(written) - changed,
            changed=changed,
            removed=removed,
        )
        seen |= written


def _wasted(listed: object) -> Iterator[WastedFile]:
    for each in objects(listed):
        if name := path(each.get("file")):
            yield WastedFile(path=name, count=whole(each.get("count")), bytes=whole(each.get("sizeBytes")))


ADAPTER = Adapter(
    engine=Engine.DIVE,
    tool="dive",
    form=ImageForm.ARCHIVE,
    arguments=_arguments,
    read=_read,
    output=_OUTPUT,
)
