"""What the configuration checks and the search for secrets see of an image while its layers are read, once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from schema.scans.evidence import ConfigurationEvidence
from workers.configuration import accounts
from workers.configuration.assessment import assess
from workers.configuration.facts import Facts, FileContent, FileFact
from workers.configuration.files import CLUTTER_DIRECTORIES, is_notable
from workers.oci.layers import Head
from workers.oci.layout import Image
from workers.oci.limits import Budget
from workers.oci.tar import Entry
from workers.oci.tree import Directory, MergedTree, file_of, layer_of, resolve
from workers.secrets import exposure
from workers.secrets.search import FILE_BYTES, PROBE_BYTES, is_binary, search

LAYER_SIGHTINGS = 2000  # secrets kept of one layer
_FACT_COST, _SIGHTING_COST = 250, 600  # bytes of memory beside the path, about, on CPython 3.11
_LISTS = "var/lib/apt/lists/"  # apt leaves a lock file there, which is not what takes the space


class LayerSurvey:
    """Notes what may matter of one layer's files."""

    def __init__(self, index: int, budget: Budget) -> None:
        self.modes: dict[int, int] = {}  # of the files a check may fail on
        self.contents: dict[int, bytes] = {}  # of those a check reads
        self.sightings: list[exposure.FileSighting] = []
        self.has_lists = False
        self.full = False
        self._index = index
        self._budget = budget

    def see(self, file: int, entry: Entry, head: Head) -> None:
        path = entry.name
        if is_notable(path, entry.mode):
            self._budget.hold(_FACT_COST + len(path))
            self.modes[file] = entry.mode
        if accounts.is_read(path):
            content = head(accounts.CONTENT_BYTES)
            self._budget.hold(len(content) + _FACT_COST)
            self.contents[file] = content
        if path.startswith(_LISTS) and not path.endswith("/lock"):
            self.has_lists = True
        if entry.size and not is_binary(head(PROBE_BYTES)):
            self._search(file, path, head(FILE_BYTES))

    def _search(self, file: int, path: str, content: bytes) -> None:
        for sighting in search(content, path):
            if len(self.sightings) == LAYER_SIGHTINGS:
                self.full = True
                return
            self._budget.hold(_SIGHTING_COST + len(path))
            self.sightings.append(exposure.FileSighting(sighting=sighting, path=path, file=file, layer=self._index))


class Survey:
    """All layers of one image. `conclude` after they were merged."""

    def __init__(self, image: Image, tag: str | None, budget: Budget) -> None:
        self._image = image
        self._tag = tag
        self._budget = budget
        self._layers: dict[int, LayerSurvey] = {}

    def layer(self, index: int) -> LayerSurvey:
        return self._layers.setdefault(index, LayerSurvey(index, self._budget))

    def conclude(self, merged: MergedTree) -> ConfigurationEvidence:
        image, layers = self._image, [self._layers[index] for index in sorted(self._layers)]
        sightings = [each for layer in layers for each in layer.sightings]
        files, clutter, alive = self._walk(merged, {each.file for each in sightings})
        inner = image.config.get("config")
        facts = Facts(
            config=inner if isinstance(inner, dict) else None,
            history=image.history,
            tag=self._tag,
            files=files,
            clutter=clutter,
            contents=dict(self._contents(merged)),
            list_layers=frozenset(index for index, layer in self._layers.items() if layer.has_lists),
        )
        checks, misconfigurations = assess(facts, [layer.diff_id for layer in image.layers])
        config: dict[str, Any] = dict(facts.config or {})
        secrets = exposure.order(
            [
                *exposure.config_secrets(config, image.history, image.layers),
                *exposure.file_secrets(sightings, alive, image.layers),
            ]
        )
        return ConfigurationEvidence(
            checks=checks,
            misconfigurations=misconfigurations,
            secrets=secrets[: exposure.RECORDS],
            warnings=_warnings(len(secrets), full=any(layer.full for layer in layers)),
        )

    def _walk(
        self, merged: MergedTree, sighted: set[int]
    ) -> tuple[tuple[FileFact, ...], tuple[FileFact, ...], frozenset[int]]:
        """The files a check may fail on, directories of clutter, and which of the files with secrets are still there."""
        modes = {file: mode for layer in self._layers.values() for file, mode in layer.modes.items()}
        files, clutter, alive = [], [], set()
        todo: list[tuple[str, str, Directory]] = [("", "", merged.root)]
        while todo:
            prefix, own_name, directory = todo.pop()
            held = -1  # the layer of a file in it
            for name, node in directory.items():
                if isinstance(node, Directory):
                    todo.append((f"{prefix}{name}/", name, node))
                    continue
                place = file_of(node)
                if place is None:
                    continue
                file, held = place
                if file in sighted:
                    alive.add(file)
                if file in modes:
                    files.append(FileFact(prefix + name, modes[file], held))
            if held >= 0 and own_name in CLUTTER_DIRECTORIES:
                self._budget.hold(_FACT_COST + len(prefix))
                clutter.append(FileFact(prefix.rstrip("/"), 0, held))
        return tuple(files), tuple(clutter), frozenset(alive)

    def _contents(self, merged: MergedTree) -> Iterator[tuple[str, FileContent]]:
        for path in accounts.read_paths(_names(merged, accounts.SUDOERS_DIRECTORY, self._budget)):
            found = resolve(merged.root, path, self._budget)
            place = file_of(found[1]) if found is not None else None
            if place is not None and place[0] in (contents := self._layers[layer_of(place[0])].contents):
                yield path, FileContent(contents[place[0]], place[1])


def _names(merged: MergedTree, path: str, budget: Budget) -> list[str]:
    found = resolve(merged.root, path, budget)
    return sorted(found[1]) if found is not None and isinstance(found[1], Directory) else []


def _warnings(secrets: int, *, full: bool) -> tuple[str, ...]:
    if secrets <= exposure.RECORDS and not full:
        return ()
    return (f"The image holds more secrets than the {min(secrets, exposure.RECORDS):,} that are listed",)
