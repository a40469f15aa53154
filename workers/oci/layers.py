"""The wanted files of an image as a container would see them, read from its layers in one pass without unpacking.

Nothing is ever written: devices, fifos, owners and modes have no meaning here, and a link is a name to look up.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from schema.dependencies.records import LayerRecord
from schema.scans.failures import FailureCode, ScanFailure
from workers.oci.compression import unpack
from workers.oci.files import ImageFile, MergedImage
from workers.oci.layout import Image, ImageLayer, Layout, read_image
from workers.oci.limits import Budget, ImageLimits
from workers.oci.tar import Entry, TarReader
from workers.oci.tree import SPECIAL, Directory, HardLink, LayerTree, MergedTree, Node, file_id, layer_of, resolve, walk

_READERS = 4  # layers read at once; inflating and hashing run outside the interpreter lock
_LOOKED_AT = 100_000  # names tried below symbolic links to directories
_WARNED = 10  # hard links to nothing named in warnings

Wanted = Callable[[str], bool]
Head = Callable[[int], bytes]  # the first bytes of a file, at most that many; again for more


class LayerWatch(Protocol):
    """Sees the regular files of one layer while it is read."""

    def see(self, file: int, entry: Entry, head: Head) -> None: ...


class Watch(Protocol):
    """Looks on while layers are read and applied, so that whoever wants to know more need not read them again."""

    def begin(self, budget: Budget) -> None:
        """First. What it keeps is charged to the budget of the image."""

    def watch_layer(self, index: int) -> LayerWatch:
        """Before a layer is read. Called from several threads, and for the layers in any order."""

    def before_layer(self, layer: LayerTree, below: MergedTree) -> None:
        """Before a layer is applied, lowest first. Neither tree may be kept or changed."""

    def after_layers(self, merged: MergedTree) -> None:
        """After the last one was applied."""


def merge_layers(
    image: Image | Path, *, wanted: Wanted, limits: ImageLimits, watch: Watch | None = None
) -> MergedImage:
    """Applies the layers in order and returns the regular files whose path is `wanted`, with their content.

    `image` may be the directory of a finished layout. `wanted` is asked once or twice for a path, from several threads.
    `watch` looks on.
    A file is listed under its own path. If that is not wanted but a path that reaches it through a symbolic link is
    (`lib/apk/db/installed` where `lib` leads to `usr/lib`), it is listed under that path; never under both.
    Every layer's bytes are verified against its diff id before anything is returned.
    Raises ScanFailure: IMAGE_INVALID, DIGEST_MISMATCH, UNSAFE_ARCHIVE, LIMIT_EXCEEDED.
    """
    described = read_image(image, limits) if isinstance(image, Path) else image
    layout, budget = Layout(described.layout, limits), Budget(limits)
    tree = MergedTree(budget)
    if watch is not None:
        watch.begin(budget)
    contents: dict[int, bytes] = {}
    records: list[LayerRecord] = []
    with closing(_read_all(layout, described.layers, wanted, watch, budget)) as reads:
        for layer, read in reads:
            records.append(_record(layer, read))
            contents |= read.contents
            if watch is not None:
                watch.before_layer(read.tree, tree)
            tree.apply(read.tree)
    if watch is not None:
        watch.after_layers(tree)
    found = [*_collect(tree, contents, wanted), *_reached_through_links(tree, wanted, budget)]
    contents |= _read_again(layout, described.layers, {each.file for each in found} - contents.keys(), budget)
    return MergedImage(
        files={
            each.path: ImageFile(
                path=each.path,
                content=contents[each.file],
                layer_index=each.layer,
                layer_digest=described.layers[each.layer].diff_id,
            )
            for each in sorted(found)
        },
        layers=tuple(records),
        warnings=tuple(f"A hard link leads to {target}, which does not exist" for target in tree.dangling[:_WARNED]),
    )


def verify_diff_id(layout: Layout, digest: str, *, diff_id: str, budget: Budget) -> None:
    """DIGEST_MISMATCH unless the blob unpacks to bytes of that digest."""
    with layout.open_blob(digest) as blob:
        stream = _Hashed(unpack(blob, layout.limits), diff_id, budget)
        for _ in stream:
            pass
    stream.verify()


class _LayerContent(NamedTuple):
    tree: LayerTree
    contents: dict[int, bytes]
    diff_size: int


class _Found(NamedTuple):
    path: str
    file: int
    layer: int


def _read_all(
    layout: Layout, layers: Collection[ImageLayer], wanted: Wanted, watch: Watch | None, budget: Budget
) -> Generator[tuple[ImageLayer, _LayerContent], None, None]:
    """The layers in order, read several at once and the largest first, so that no thread ends with a large one."""
    readers = max(1, min(_READERS, os.cpu_count() or 1, len(layers)))
    with ThreadPoolExecutor(readers, thread_name_prefix="layer") as pool:
        reads: dict[int, Future[_LayerContent]] = {
            layer.index: pool.submit(_read_layer, layout, layer, wanted, watch, budget)
            for layer in sorted(layers, key=lambda each: -each.size)
        }
        try:
            for layer in layers:
                yield layer, reads.pop(layer.index).result()
        finally:
            budget.stop()
            pool.shutdown(cancel_futures=True)


def _read_layer(
    layout: Layout, layer: ImageLayer, wanted: Wanted, watch: Watch | None, budget: Budget
) -> _LayerContent:
    tree, contents = LayerTree(layer.index, budget), {}
    watcher = watch.watch_layer(layer.index) if watch is not None else None
    with layout.open_blob(layer.digest) as blob:
        stream = _Hashed(unpack(blob, layout.limits), layer.diff_id, budget)
        reader = TarReader(stream, budget)
        for entry in reader:
            file = tree.add(entry)
            if file is None:
                continue
            if kept := wanted(entry.name):
                contents[file] = reader.read()
            if watcher is not None:
                watcher.see(file, entry, partial(_first, contents[file]) if kept else reader.head)
    tree.close()
    stream.verify()
    return _LayerContent(tree, contents, stream.size)


def _first(content: bytes, size: int) -> bytes:
    return content[:size]


def _read_again(layout: Layout, layers: tuple[ImageLayer, ...], missing: set[int], budget: Budget) -> dict[int, bytes]:
    """Contents of files that turned out to be wanted under another name than that of their entry."""
    contents: dict[int, bytes] = {}
    by_layer: defaultdict[int, set[int]] = defaultdict(set)
    for file in missing:
        by_layer[layer_of(file)].add(file)
    again = Budget(layout.limits, held=budget.held)
    for index, files in by_layer.items():
        with layout.open_blob(layers[index].digest) as blob:
            reader = TarReader(unpack(blob, layout.limits), again)
            for ordinal, _ in enumerate(reader, 1):
                if (file := file_id(index, ordinal)) in files:
                    contents[file] = reader.read()
    return contents


class _Hashed:
    """Blocks of a layer on their way to the reader, counted and hashed."""

    def __init__(self, blocks: Iterator[bytes], diff_id: str, budget: Budget) -> None:
        self._blocks = blocks
        self._diff_id = diff_id
        self._hash = hashlib.new(diff_id.partition(":")[0])
        self._budget = budget
        self.size = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        block = next(self._blocks)
        self.size += len(block)
        self._budget.unpack(len(block))
        self._hash.update(block)
        return block

    def verify(self) -> None:
        if self._hash.hexdigest() != self._diff_id.partition(":")[2]:
            raise ScanFailure(
                FailureCode.DIGEST_MISMATCH, f"A layer does not unpack to {self._diff_id}, as the image's config says"
            )


def _collect(tree: MergedTree, contents: dict[int, bytes], wanted: Wanted) -> Iterator[_Found]:
    """The wanted files under their own paths.

    A file whose content was kept was wanted under the name of its entry, which is its path unless it was moved. So the
    path of anything else need not even be put together: that is most of an image.
    """
    todo = [("", tree.root)]
    while todo:
        prefix, directory = todo.pop()
        for name, node in directory.items():
            if isinstance(node, Directory):
                todo.append((f"{prefix}{name}/", node))
            elif isinstance(node, HardLink):
                if wanted(path := prefix + name):
                    yield _Found(path, node.file, node.layer)
            elif isinstance(node, int) and node != SPECIAL and (tree.moved or node in contents):
                path = prefix + name
                if not tree.moved or wanted(path):
                    yield _Found(path, node, layer_of(node))


def _reached_through_links(tree: MergedTree, wanted: Wanted, budget: Budget) -> Iterator[_Found]:
    """Files that are wanted under the path of a symbolic link and not under their own, once each.

    Links near the root come first, as only so many names are tried: `lib`, not one of a thousand in `node_modules`.
    """
    links = [path for path, node in walk(tree.root) if isinstance(node, str)]
    listed: set[str] = set()
    looked_at = 0
    for link in sorted(links, key=lambda path: (path.count("/"), path)):
        target = resolve(tree.root, link, budget)
        if target is None:
            continue
        real, node = target
        below = ((f"/{path}", each) for path, each in walk(node)) if isinstance(node, Directory) else [("", node)]
        for rest, each in below:
            looked_at += 1
            if looked_at > _LOOKED_AT:
                return
            file, path = _file(each), (real + rest).lstrip("/")
            if file is None or not wanted(link + rest) or wanted(path) or path in listed:
                continue
            listed.add(path)
            yield _Found(link + rest, *file)


def _file(node: Node) -> tuple[int, int] | None:
    """(file, layer) of a regular file under whichever of its names."""
    if isinstance(node, HardLink):
        return node
    return (node, layer_of(node)) if isinstance(node, int) and node != SPECIAL else None


def _record(layer: ImageLayer, read: _LayerContent) -> LayerRecord:
    return LayerRecord(
        index=layer.index,
        digest=layer.digest,
        diff_id=layer.diff_id,
        media_type=layer.media_type,
        size=layer.size,
        diff_size=read.diff_size,
        file_count=read.tree.file_count,
        created_by=layer.created_by,
    )
