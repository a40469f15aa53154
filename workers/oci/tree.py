"""The names of an image's file system, without its contents: layers are read into trees, and trees are merged.

Follows the layer part of the OCI image specification 1.1, and where that is silent what containerd does when it applies
a layer: an entry below a symbolic link goes where the link points, always inside the root, and a directory entry of its
own replaces such a link.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import NamedTuple

from schema.scans.failures import FailureCode, ScanFailure
from workers.oci.limits import Budget
from workers.oci.tar import Entry, EntryKind

WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_METADATA = ".wh..wh."  # what AUFS left in layers; none of it is a file
_HOPS = 40  # symbolic links followed for one name, as Linux does
_DIRECTORY_COST, _NODE_COST = 400, 120  # bytes of memory beside the name, about, on CPython 3.11
_COST_AT_ONCE = 64 * 1024

SPECIAL = -1  # stands for a device, a fifo, and a hard link to nothing


class Directory(dict[str, "Node"]):
    """Names to what they are. `explicit` tells an entry of its own from a parent that was only implied."""

    __slots__ = ("explicit",)

    def __init__(self) -> None:
        self.explicit = False


class HardLink(NamedTuple):
    file: int
    layer: int  # of the link, which may be above that of the file


class LowerLink(NamedTuple):
    """A hard link to a name that its own layer does not have."""

    target: str


# A regular file is a number that is its identity in the image (`file_id`), a symbolic link its target.
Node = Directory | int | str | HardLink | LowerLink


def file_id(layer: int, ordinal: int) -> int:
    """Orders the files of an image by layer, then by place in it."""
    return layer << 32 | ordinal


def layer_of(file: int) -> int:
    return file >> 32


def ordinal_of(file: int) -> int:
    """Its place among the entries of its layer, from 1."""
    return file & 0xFFFF_FFFF


def file_of(node: Node) -> tuple[int, int] | None:
    """(file, layer) of a regular file under whichever of its names."""
    if isinstance(node, HardLink):
        return node
    return (node, layer_of(node)) if isinstance(node, int) and node != SPECIAL else None


class LayerTree:
    """What one layer adds and what it removes from those below."""

    def __init__(self, index: int, budget: Budget) -> None:
        self.index = index
        self.root = Directory()
        self.whiteouts: list[str] = []
        self.opaques: list[str] = []
        self.lower_links: list[tuple[Directory, str, LowerLink]] = []  # where each one stands
        self.file_count = 0  # regular files and links
        self.moved = False  # whether an entry went where a link led it
        self.sizes = array("q")  # bytes of content of each entry, in their order
        self._budget = budget
        self._cost = 0
        self._ordinal = 0
        self._parent_path = ""
        self._parent = self.root

    def add(self, entry: Entry) -> int | None:
        """Places the entry. Returns the identity of a regular file, None for anything else."""
        kind, path, link, size, _ = entry
        self._ordinal += 1
        self.sizes.append(size)
        if not path:
            return None  # the root itself
        directory, _, name = path.rpartition("/")
        if name.startswith(WHITEOUT):
            self._remove(directory, name)
            return None
        if path.startswith(_METADATA):
            return None
        parent = self._parent if directory == self._parent_path else self._find_parent(directory)
        node: Node
        if kind is EntryKind.FILE:
            node = file_id(self.index, self._ordinal)
            self.file_count += 1
        elif kind is EntryKind.DIRECTORY:
            there = parent.get(name)
            entered = there if isinstance(there, Directory) else self.make(parent, name, directory)
            entered.explicit = True
            return None
        elif kind is EntryKind.SYMLINK:
            node = link
            self.file_count += 1
        elif kind is EntryKind.HARDLINK:
            node = self._link(link)
            self.file_count += 1
        else:
            node = SPECIAL
        if (replaced := parent.get(name)) is not None:
            self._forget(replaced)
        parent[name] = node
        if isinstance(node, LowerLink):
            self.lower_links.append((parent, name, node))
        self._charge(_NODE_COST + len(name) + len(link))
        return node if kind is EntryKind.FILE and isinstance(node, int) else None

    def close(self) -> None:
        """After the last entry."""
        self._budget.hold(self._cost + self.sizes.itemsize * len(self.sizes))
        self._cost = 0

    def size_of(self, file: int) -> int:
        """Bytes of a regular file of this layer."""
        return self.sizes[ordinal_of(file) - 1]

    def _forget(self, replaced: Node) -> None:
        """The parent remembered for the next entry may have been this, or below it."""
        if isinstance(replaced, Directory | str):
            self._parent_path, self._parent = "", self.root

    def make(self, parent: Directory, name: str, directory: str) -> Directory:
        """A new directory in the parent, whose path is `directory`."""
        replaced = parent.get(name)
        if replaced is not None:  # something of this layer, which already took the place of what was below
            self._forget(replaced)
            self.whiteouts.append(f"{directory}/{name}" if directory else name)
        parent[name] = made = Directory()
        self._charge(_DIRECTORY_COST + len(name))
        return made

    def _remove(self, directory: str, name: str) -> None:
        if name == _OPAQUE:
            self.opaques.append(directory)
        elif not name.startswith(_METADATA):
            removed = name[len(WHITEOUT) :]
            if removed in {"", ".", ".."}:
                raise _unsafe("a whiteout that removes no entry of its directory")
            self.whiteouts.append(f"{directory}/{removed}" if directory else removed)
        self._charge(_NODE_COST + len(directory) + len(name))

    def _link(self, target: str) -> Node:
        """A hard link is another name of what stands there now, also if that is a symbolic link."""
        directory, _, name = target.rpartition("/")
        parent = find_directory(self.root, directory, self._budget)
        there = parent.get(name) if parent is not None else None
        match there:
            case None | LowerLink():
                return LowerLink(target)
            case Directory():
                return SPECIAL
            case int() if there != SPECIAL:
                return HardLink(there, self.index)
            case _:
                return there

    def _find_parent(self, path: str) -> Directory:
        """The directory an entry goes into, made if it is missing.

        A link of this very layer may lead it elsewhere inside the root only if it says so in relative terms: the pair of
        a link to somewhere absolute and an entry below it has one purpose, to make an extractor write outside.
        """
        at, parts = self.root, path.split("/") if path else []
        for depth, part in enumerate(parts):
            there = at.get(part)
            if type(there) is Directory:
                at = there
            elif isinstance(there, str):
                at = self._through_links(path)
                break
            else:
                at = self.make(at, part, "/".join(parts[:depth]))
        self._parent_path, self._parent = path, at
        return at

    def _through_links(self, path: str) -> Directory:
        self.moved = True
        found = find_directory(self.root, path, self._budget, made_by=self)
        if found is None:
            raise _unsafe("an entry below symbolic links that go round in circles")
        return found

    def _charge(self, cost: int) -> None:
        self._cost += cost
        if self._cost >= _COST_AT_ONCE:
            self._budget.hold(self._cost)
            self._cost = 0


class MergedTree:
    """The tree a container sees after `apply` was called with each layer, lowest first."""

    def __init__(self, budget: Budget) -> None:
        self.root = Directory()
        self.moved = False  # whether a file ended at another path than its entry has
        self.dangling: list[str] = []  # hard links to nothing
        self._budget = budget

    def apply(self, layer: LayerTree) -> None:
        """Takes the layer's tree over; it must not be used afterwards."""
        self.moved |= layer.moved
        links = [(parent, name, link, self._resolve(link, layer)) for parent, name, link in layer.lower_links]
        for path in layer.opaques:
            if (directory := self._lower_directory(path, layer)) is not None:
                directory.clear()
        for path in layer.whiteouts:
            above, _, name = path.rpartition("/")
            if (directory := self._lower_directory(above, layer)) is not None:
                directory.pop(name, None)
        for parent, name, link, node in links:
            if parent.get(name) is link:
                parent[name] = node
        self._merge(layer.root)

    def _resolve(self, link: LowerLink, layer: LayerTree) -> Node:
        directory, _, name = link.target.rpartition("/")
        parent = find_directory(self.root, directory, self._budget)
        there = parent.get(name) if parent is not None else None
        if isinstance(there, int) and there != SPECIAL:
            return HardLink(there, layer.index)
        if isinstance(there, HardLink):
            return HardLink(there.file, layer.index)
        if isinstance(there, str):
            return there
        self.dangling.append(link.target)
        return SPECIAL

    def _lower_directory(self, path: str, layer: LayerTree) -> Directory | None:
        """The directory a whiteout looks into: none where this layer puts a new directory in place of a link."""
        at, above = self.root, layer.root
        for part in path.split("/") if path else ():
            there = at.get(part)
            over = above.get(part)
            above = over if isinstance(over, Directory) else _NOTHING
            if type(there) is Directory:
                at = there
            elif isinstance(there, str) and not above.explicit:
                return find_directory(self.root, path, self._budget)
            else:
                return None
        return at

    def _merge(self, root: Directory) -> None:
        """Whole directories that are new are taken as they are, so a base layer costs one step."""
        todo = [("", self.root, root)]
        below_links: list[tuple[str, Directory]] = []
        while todo or below_links:
            if not todo:
                path, upper = below_links.pop()
                found = find_directory(self.root, path, self._budget)
                if found is None:  # the link leads nowhere: the directory takes its place
                    parent = find_directory(self.root, path.rpartition("/")[0], self._budget)
                    if parent is not None:
                        parent[path.rpartition("/")[2]] = upper
                    continue
                self.moved = True
                todo.append((path, found, upper))
            path, lower, upper = todo.pop()
            for name, node in upper.items():
                there = lower.get(name)
                if type(node) is Directory and type(there) is Directory:
                    todo.append((f"{path}/{name}" if path else name, there, node))
                elif type(node) is Directory and isinstance(there, str) and not node.explicit:
                    below_links.append((f"{path}/{name}" if path else name, node))
                else:
                    lower[name] = node


_NOTHING = Directory()


def find_directory(root: Directory, path: str, budget: Budget, *, made_by: LayerTree | None = None) -> Directory | None:
    """The directory at a path, its last name followed if it is a link; None where there is none. As `resolve`."""
    found = resolve(root, path, budget, made_by=made_by)
    return found[1] if found is not None and isinstance(found[1], Directory) else None


def resolve(root: Directory, path: str, budget: Budget, *, made_by: LayerTree | None = None) -> tuple[str, Node] | None:
    """What a path leads to and where that really is, following links as a kernel would with this root as its /.

    None where there is nothing, or more than 40 links. With `made_by`, a layer that is being read, missing directories
    are made, and a link that is absolute or climbs out of the root is UNSAFE_ARCHIVE.
    """
    names: list[str] = []
    stack, parts, hops = [root], path.split("/")[::-1], 0
    while parts:
        part = parts.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            if names:
                names.pop()
                stack.pop()
            elif made_by is not None:
                raise _unsafe("an entry below a symbolic link that leads out of its root")
            continue
        there = stack[-1].get(part)
        if isinstance(there, str):
            hops += 1
            steps = there.split("/")
            budget.follow(len(steps))
            if hops > _HOPS:
                return None
            if there.startswith("/"):
                if made_by is not None:
                    raise _unsafe("an entry below a symbolic link to an absolute path")
                names.clear()
                del stack[1:]
            parts.extend(reversed(steps))
            continue
        if not isinstance(there, Directory):
            if made_by is None:
                return ("/".join([*names, part]), there) if there is not None and not parts else None
            there = made_by.make(stack[-1], part, "/".join(names))
        names.append(part)
        stack.append(there)
    return "/".join(names), stack[-1]


def walk(root: Directory) -> Iterator[tuple[str, Node]]:
    """Every path below a directory that is not a directory itself, with what it is."""
    todo = [("", root)]
    while todo:
        prefix, directory = todo.pop()
        for name, node in directory.items():
            if isinstance(node, Directory):
                todo.append((f"{prefix}{name}/", node))
            else:
                yield prefix + name, node


def _unsafe(problem: str) -> ScanFailure:
    return ScanFailure(FailureCode.UNSAFE_ARCHIVE, f"A layer holds {problem}")
