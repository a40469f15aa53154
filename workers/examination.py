"""Everything that is asked of an image, in the one pass that reads its layers. Runs in the child process of analysis.py."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from schema.dependencies.records import Inventory
from schema.scans.evidence import ConfigurationEvidence, ImageEfficiency
from workers.efficiency import Ledger
from workers.inventory.excerpts import take_excerpt
from workers.inventory.inventory import take_inventory, wanted
from workers.oci.layers import Head, LayerWatch, merge_layers
from workers.oci.layout import Image, read_image
from workers.oci.limits import Budget, ImageLimits
from workers.oci.tar import Entry
from workers.oci.tree import LayerTree, MergedTree
from workers.secrets.search import redact
from workers.survey import Survey


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What is asked beside the inventory. `tag` is the one the image was asked for by, None where there was none."""

    configuration: bool = False
    efficiency: bool = False
    tag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What an image holds. None for what was not asked. No text in it shows a secret that was found."""

    inventory: Inventory
    configuration: ConfigurationEvidence | None = None
    efficiency: ImageEfficiency | None = None


def examine(layout: Path, questions: Questions, limits: ImageLimits) -> Examination:
    """Raises ScanFailure, as `merge_layers` and `take_inventory` do."""
    image = read_image(layout, limits)
    watch = _Watch(image, questions)
    merged = merge_layers(image, wanted=wanted, limits=limits, take_excerpt=take_excerpt, watch=watch)
    inventory = take_inventory(merged)
    # What a builder wrote down may hold secrets, and is stored and shown.
    layers = tuple(replace(layer, created_by=redact(layer.created_by)) for layer in inventory.layers)
    return Examination(
        inventory=replace(inventory, layers=layers),
        configuration=watch.configuration,
        efficiency=watch.efficiency,
    )


class _Watch:
    """Looks on for those who were asked."""

    def __init__(self, image: Image, questions: Questions) -> None:
        self._image = image
        self._questions = questions
        self._ledger: Ledger | None = None
        self._survey: Survey | None = None
        self.configuration: ConfigurationEvidence | None = None
        self.efficiency: ImageEfficiency | None = None

    def begin(self, budget: Budget) -> None:
        if self._questions.efficiency:
            self._ledger = Ledger(budget)
        if self._questions.configuration:
            self._survey = Survey(self._image, self._questions.tag, budget)

    def watch_layer(self, index: int) -> LayerWatch:
        return self._survey.layer(index) if self._survey is not None else _Blind()

    def before_layer(self, layer: LayerTree, below: MergedTree) -> None:
        if self._ledger is not None:
            self._ledger.enter(layer, below)

    def after_layers(self, merged: MergedTree) -> None:
        if self._ledger is not None:
            self.efficiency = self._ledger.close(tuple(layer.diff_id for layer in self._image.layers))
        if self._survey is not None:
            self.configuration = self._survey.conclude(merged)


class _Blind:
    """Where nobody asks about files."""

    def see(self, file: int, entry: Entry, head: Head) -> None: ...
