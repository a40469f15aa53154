"""The wanted files of an image as a container would see them, read from its layers in one pass without unpacking.

Nothing is ever put in place: devices, fifos and owners have no meaning here, and a link is a name to look up.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from schema.dependencies.records import LayerRecord
from schema.scans.failures import FailureCode, ScanFailure
from workers.oci.compression import unpack
from workers.oci.files import ImageFile, MergedImage, Place
from workers.oci.layout import Image, ImageLayer, Layout, read_image
from workers.oci.limits import Budget, ImageLimits
from workers.oci.tar import Entry, TarReader
from workers.oci.tree import (
    SPECIAL,
    Directory,
    HardLink,
    LayerTree,
    MergedTree,
    file_id,
    file_of,
    layer_of,
    resolve,
    walk,
)

_READERS = 4  # layers read at once; inflating and hashing run outside the interpreter lock
_LOOKED_AT = 100_000  # names tried below symbolic links to directories
_WARNED = 10  # hard links to nothing named in warnings

Wanted = Callable[[str], bool]
# Asked for each regular file that is not wanted. What it takes out of the file is kept in place of the content; None for
# the many files of which nothing is. It may read the entry at hand, in part or in `pieces`.
TakeExcerpt = Callable[[Entry, TarReader], bytes | None]
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
    image: Image | Path,
    *,
    wanted: Wanted,
    limits: ImageLimits,
    take_excerpt: TakeExcerpt | None = None,
    watch: Watch | None = None,
) -> MergedImage:
    """Applies the layers in order and returns the regular files whose path is `wanted`, with their content.

    Of other files `take_excerpt` may keep a part; those are listed under each of their own paths. `watch` looks on.

    `image` may be the directory of a finished layout. `wanted` is asked once or twice for a path, from several threads.
    A file is listed under its own path. If that is not wanted but a path that reaches it through a symbolic link is
    (`lib/apk/db/installed` where `lib` leads to `usr/lib`), it is listed under that path; never under both.
    Every layer's bytes are verified against its diff id before anything is returned.
    Raises ScanFailure: IMAGE_INVALID, DIGEST_MISMATCH, UNSAFE_ARCHIVE, LIMIT_EXCEEDED.
    """
    described = read_image(image, limits) if isinstance(image, Path) else image
    layout, budget = Layout(described.layout, limits), Budget(limits)
    tree, kept = MergedTree(budget), _Kept(budget)
    if watch is not None:
        watch.begin(budget)
    excerpts: dict[int, bytes] = {}
    records: list[LayerRecord] = []
    looking = _Looking(wanted, kept, take_excerpt, watch)
    with closing(_read_all(layout, described.layers, looking, budget)) as reads:
        for layer, read in reads:
            records.append(_record(layer, read))
            excerpts |= read.excerpts
            if watch is not None:
                watch.before_layer(read.tree, tree)
            tree.apply(read.tree)
    if watch is not None:
        watch.after_layers(tree)
    contents = kept.contents
    found = [*_collect(tree, contents, excerpts, wanted), *_reached_through_links(tree, wanted, budget)]
    contents |= _read_again(
        layout, described.layers, {each.file for each in found} - contents.keys() - excerpts.keys(), budget
    )
    return MergedImage(
        files={
            each.path: ImageFile(
                path=each.path,
                content=contents[each.file] if each.file in contents else excerpts[each.file],
                layer_index=each.layer,
                layer_digest=described.layers[each.layer].diff_id,
                excerpt=each.file not in contents,
            )
            for each in sorted(found)
        },
        layers=tuple(records),
        locate=partial(_locate, tree, [layer.diff_id for layer in described.layers], budget),
        warnings=tuple(f"A hard link leads to {target}, which does not exist" for target in tree.dangling[:_WARNED]),
    )


def _locate(tree: MergedTree, diff_ids: Sequence[str], budget: Budget, path: str) -> Place | None:
    found = resolve(tree.root, path, budget)
    file = file_of(found[1]) if found is not None else None
    return Place(layer_index=file[1], layer_digest=diff_ids[file[1]]) if file is not None else None


def verify_diff_id(layout: Layout, digest: str, *, diff_id: str, budget: Budget) -> None:
    """DIGEST_MISMATCH unless the blob unpacks to bytes of that digest."""
    with layout.open_blob(digest) as blob:
        stream = _Hashed(unpack(blob, layout.limits), diff_id, budget)
        for _ in stream:
            pass
    stream.verify()


class _LayerContent(NamedTuple):
    tree: LayerTree
    excerpts: dict[int, bytes]
    diff_size: int


class _Kept:
    """Contents of wanted files, of each name only the highest layer's: a package database is written anew by every layer
    that installs something, and all of them together would be many times what is needed. Should a lower one be needed
    after all, because it has another name, it is read again.
    """

    def __init__(self, budget: Budget) -> None:
        self.contents: dict[int, bytes] = {}
        self._files: dict[str, int] = {}
        self._lock = threading.Lock()
        self._budget = budget

    def is_newest(self, name: str, file: int) -> bool:
        """Of what was read so far: layers are read in any order."""
        with self._lock:
            return file >= self._files.get(name, file)

    def keep(self, name: str, file: int, content: bytes) -> None:
        with self._lock:
            other = self._files.get(name, file)
            newer, older = max(file, other), min(file, other)
            self.contents[file] = content
            self._files[name] = newer
            dropped = self.contents.pop(older) if older != newer else b""
        self._budget.hold(-len(dropped))


class _Looking(NamedTuple):
    """Who looks at the files of a layer while it is read, and where what is wanted of them goes."""

    wanted: Wanted
    kept: _Kept
    take_excerpt: TakeExcerpt | None
    watch: Watch | None


class _Found(NamedTuple):
    path: str
    file: int
    layer: int


def _read_all(
    layout: Layout, layers: Collection[ImageLayer], looking: _Looking, budget: Budget
) -> Generator[tuple[ImageLayer, _LayerContent], None, None]:
    """The layers in order, read several at once and the largest first, so that no thread ends with a large one."""
    readers = max(1, min(_READERS, os.cpu_count() or 1, len(layers)))
    with ThreadPoolExecutor(readers, thread_name_prefix="layer") as pool:
        reads: dict[int, Future[_LayerContent]] = {
            layer.index: pool.submit(_read_layer, layout, layer, looking, budget)
            for layer in sorted(layers, key=lambda each: -each.size)
        }
        try:
            for layer in layers:
                yield layer, reads.pop(layer.index).result()
        finally:
            budget.stop()
            pool.shutdown(cancel_futures=True)


def _read_layer(layout: Layout, layer: ImageLayer, looking: _Looking, budget: Budget) -> _LayerContent:
    wanted, kept, take_excerpt, watch = looking
    tree, excerpts = LayerTree(layer.index, budget), {}
    watcher = watch.watch_layer(layer.index) if watch is not None else None
    with layout.open_blob(layer.digest) as blob:
        stream = _Hashed(unpack(blob, layout.limits), layer.diff_id, budget)
        reader = TarReader(stream, budget)
        for entry in reader:
            file = tree.add(entry)
            if file is None:
                continue
            head, is_wanted = reader.head, wanted(entry.name)
            if is_wanted and kept.is_newest(entry.name, file):
                content = reader.read()
                kept.keep(entry.name, file, content)
                head = partial(_first, content)
            if watcher is not None:
                watcher.see(file, entry, head)
            if not is_wanted and take_excerpt is not None and (excerpt := take_excerpt(entry, reader)) is not None:
                budget.hold(len(excerpt))
                excerpts[file] = excerpt
    tree.close()
    stream.verify()
    return _LayerContent(tree, excerpts, stream.size)


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


def _collect(
    tree: MergedTree, contents: dict[int, bytes], excerpts: dict[int, bytes], wanted: Wanted
) -> Iterator[_Found]:
    """The wanted files, and those with an excerpt, under their own paths.

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
                path = prefix + name
                if node.file in excerpts or wanted(path):
                    yield _Found(path, node.file, node.layer)
            elif node in excerpts:
                yield _Found(prefix + name, node, layer_of(node))
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
            file, path = file_of(each), (real + rest).lstrip("/")
            if file is None or not wanted(link + rest) or wanted(path) or path in listed:
                continue
            listed.add(path)
            yield _Found(link + rest, *file)


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
