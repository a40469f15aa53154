"""How much of an image is space nobody sees: Dive's definition, on the trees that are read for the inventory anyway.

Dive (github.com/wagoodman/dive, `dive/filetree/efficiency.go`, 0.13) looks at the leaves of each layer: files, links, empty
directories, whiteouts. A path that layers name once is well used. Of a path they name several times, one copy, the smallest,
is the least it could take, and all of them together are wasted. A whiteout counts as a copy of no bytes; one of a directory
as a copy of all that is in it. Efficiency is the least all paths could take divided by what they do take.

Followed on purpose: hard links take nothing, an opaque directory hides nothing, a whiteout of a directory that has no entry
of its own counts as no bytes. Not followed: Dive leaves out the rest of a layer after a whiteout of nothing, and lists paths
that waste no bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import nlargest

from schema.scans.evidence import ImageEfficiency, LayerUsage, WastedFile
from workers.oci.limits import Budget
from workers.oci.tree import SPECIAL, Directory, LayerTree, MergedTree, Node

LISTED = 100  # wasted files
_DIRECTORY_COST, _LEAF_COST = 500, 110  # bytes of memory, about, on CPython 3.11
_NOTHING = Directory()


@dataclass(slots=True)
class _Place:
    """A path that is a directory in some layer, or that layers name several times.

    `size` and `is_directory` are those of the highest layer that has it, `stands` is False once it was removed.
    """

    children: dict[str, _Place | int] = field(default_factory=dict)
    size: int = 0
    is_directory: bool = False
    stands: bool = True
    count: int = 0  # how often layers name it as a leaf
    total: int = 0  # bytes of all those
    least: int = 0


class Ledger:
    """What every path took so far. `enter` each layer, lowest first, then `close`."""

    def __init__(self, budget: Budget) -> None:
        self._root = _Place()  # a file named once is only its size; the commonest by far
        self._wasted: dict[str, _Place] = {}
        self._single_bytes = 0  # of the paths that are named once
        self._layers: list[tuple[int, int, int, int]] = []
        self._budget = budget

    def enter(self, layer: LayerTree, below: MergedTree) -> None:
        """A layer that was read and not applied yet to those below."""
        self._layers.append((sum(layer.sizes), *_changes(layer, below)))
        removed = [(path, size) for path in layer.whiteouts if (size := self._removed_size(path)) is not None]
        for path, size in removed:
            self._remove(path, size)
        parents = {path.rpartition("/")[0] for path in layer.whiteouts}
        for path in parents.union(layer.opaques):
            self._imply(path)
        self._enter(layer, parents)

    def close(self, diff_ids: tuple[str, ...]) -> ImageEfficiency:
        least = self._single_bytes + sum(place.least for place in self._wasted.values())
        wasted = sum(place.total for place in self._wasted.values())
        taken = self._single_bytes + wasted
        largest = nlargest(LISTED, self._wasted.items(), key=lambda item: (item[1].total, item[0]))
        return ImageEfficiency(
            total_bytes=sum(size for size, *_ in self._layers),
            wasted_bytes=wasted,
            efficiency=least / taken if taken else 1.0,
            layers=tuple(
                LayerUsage(index=index, diff_id=diff_id, bytes=size, added=added, changed=changed, removed=removed)
                for index, (diff_id, (size, added, changed, removed)) in enumerate(
                    zip(diff_ids, self._layers, strict=True)
                )
            ),
            wasted_files=tuple(
                WastedFile(path=path, count=place.count, bytes=place.total) for path, place in largest if place.total
            ),
        )

    def _imply(self, path: str) -> None:
        """The directories on the way to a whiteout are there without an entry of their own, as far as we know yet."""
        at: _Place | int | None = self._root
        for part in path.split("/"):
            at = at.children.get(part) if isinstance(at, _Place) else None
            if isinstance(at, _Place):
                at.is_directory = False

    def _enter(self, layer: LayerTree, parents: set[str]) -> None:
        """`parents` hold whiteouts, which makes them no leaves."""
        todo: list[tuple[str, _Place, Directory]] = [("", self._root, layer.root)]
        cost = 0
        while todo:
            prefix, place, directory = todo.pop()
            for name, node in directory.items():
                there = place.children.get(name)
                if isinstance(node, Directory):
                    if not isinstance(there, _Place):
                        there = self._widen(place, name, there)
                        cost += _DIRECTORY_COST
                    there.is_directory, there.size, there.stands = node.explicit, 0, True
                    if node:
                        todo.append((f"{prefix}{name}/", there, node))
                    elif prefix + name not in parents:
                        self._count(prefix + name, there, 0)
                    continue
                size = layer.size_of(node) if isinstance(node, int) and node != SPECIAL else 0
                if there is None:
                    place.children[name] = size
                    self._single_bytes += size
                    cost += _LEAF_COST
                    continue
                if not isinstance(there, _Place):
                    there = self._widen(place, name, there)
                    cost += _DIRECTORY_COST
                there.is_directory, there.size, there.stands = False, size, True
                self._count(prefix + name, there, size)
            if cost > _DIRECTORY_COST:
                self._budget.hold(cost)
                cost = 0
        self._budget.hold(cost)

    def _widen(self, parent: _Place, name: str, leaf: int | None) -> _Place:
        """A place of its own for what was nothing or a size: `~size` for a file that was removed."""
        made = _Place()
        if leaf is not None:
            size = leaf if leaf >= 0 else ~leaf
            made = _Place(size=size, stands=leaf >= 0, count=1, total=size, least=size)
        parent.children[name] = made
        return made

    def _count(self, path: str, place: _Place, size: int) -> None:
        """One more leaf of that name."""
        if place.count == 1:
            self._single_bytes -= place.total
            self._wasted[path] = place
            self._budget.hold(_LEAF_COST + len(path))
        elif not place.count:
            self._single_bytes += size
        place.least = min(place.least, size) if place.count else size
        place.count += 1
        place.total += size

    def _find(self, path: str) -> _Place | int | None:
        at: _Place | int = self._root
        for part in path.split("/"):
            if not isinstance(at, _Place) or (found := at.children.get(part)) is None:
                return None
            at = found
        return at

    def _removed_size(self, path: str) -> int | None:
        """Bytes a whiteout of the path removes, None where nothing stands."""
        there = self._find(path)
        if not isinstance(there, _Place):
            return 0 if there is not None and there >= 0 else None
        if not there.stands:
            return None
        return sum(_standing_sizes(there)) if there.is_directory else 0

    def _remove(self, path: str, size: int) -> None:
        above, _, name = path.rpartition("/")
        parent = self._find(above) if above else self._root
        assert isinstance(parent, _Place)
        there = parent.children[name]
        if not isinstance(there, _Place):
            there = self._widen(parent, name, there)
            self._budget.hold(_DIRECTORY_COST)
        todo = [there]
        while todo:
            place = todo.pop()
            place.stands, place.is_directory, place.size = False, False, 0
            for child_name, child in place.children.items():
                if isinstance(child, _Place):
                    todo.append(child)
                elif child >= 0:
                    place.children[child_name] = ~child
        self._count(path, there, size)


def _standing_sizes(place: _Place) -> Iterator[int]:
    todo = [place]
    while todo:
        each = todo.pop()
        if each.stands:
            yield each.size
        for child in each.children.values():
            if isinstance(child, _Place):
                todo.append(child)
            elif child >= 0:
                yield child


def _changes(layer: LayerTree, below: MergedTree) -> tuple[int, int, int]:
    """Files a layer adds, changes and removes. One it removes and brings again is changed."""
    added = changed = removed = 0
    todo: list[tuple[Directory, Node | None]] = [(layer.root, below.root)]
    while todo:
        upper, lower = todo.pop()
        for name, node in upper.items():
            there = lower.get(name) if isinstance(lower, Directory) else None
            if isinstance(node, Directory):
                removed += there is not None and not isinstance(there, Directory)
                todo.append((node, there))
            elif there is None:
                added += 1
            elif isinstance(there, Directory):
                added, removed = added + 1, removed + _count_leaves(there)
            else:
                changed += 1
    for path in {*layer.whiteouts, *layer.opaques}:
        lower = _node(below.root, path)
        if lower is not None:
            removed += _count_missing(lower, _node(layer.root, path))
    return added, changed, removed


def _node(root: Directory, path: str) -> Node | None:
    """What stands at a path without following links, as a whiteout names it."""
    at: Node | None = root
    for part in path.split("/") if path else ():
        at = at.get(part) if isinstance(at, Directory) else None
    return at


def _count_leaves(node: Node) -> int:
    return _count_missing(node, None)


def _count_missing(lower: Node, upper: Node | None) -> int:
    """Files of the lower tree for which there is nothing in the upper; a file in place of a directory counts elsewhere."""
    count = 0
    todo: list[tuple[Node, Node | None]] = [(lower, upper)]
    while todo:
        node, over = todo.pop()
        if not isinstance(node, Directory):
            count += over is None
        elif over is None or isinstance(over, Directory):
            above = over or _NOTHING
            todo += [(child, above.get(name)) for name, child in node.items()]
    return count
