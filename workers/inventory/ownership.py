"""Which files of an image a distribution's package brought.

A language's package that came inside a distribution's package is patched by the distribution under the version of that
package: its own version says nothing about which flaws it still has, and its advisories must not be held against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

from workers.inventory.excerpts import digest_of
from workers.oci.files import ImageFile, Locate, Place

MAX_PATH = 4096  # characters; longer is no path of an image
_LOOKED_UP = 32  # files of one package whose layer is asked for
_LOOKED_UP_IN_ALL = 200_000  # a real image has a few thousand packages
_MERGED = ("bin/", "lib", "sbin/")  # below /usr in distributions of today, whatever their packages' lists say


class Ownership:
    """Takes each package's claims to files; tells whose a file is, and the layer that brought a package.

    Only files of `files` can be owned: those whose content, or an excerpt of it, an analyser asked for.
    """

    def __init__(self, files: Mapping[str, ImageFile], locate: Locate = lambda _path: None) -> None:
        self._files = files
        self._locate = locate
        self._owners: dict[str, str] = {}
        self._digests: dict[tuple[str, str], str] = {}
        self._left = _LOOKED_UP_IN_ALL

    def owner(self, path: str) -> str | None:
        """The name of the package that brought the file."""
        return self._owners.get(path)

    def claim(self, path: str, owner: str, *, digest: tuple[str, str] | None = None) -> None:
        """`path` is relative to the root. With a digest (algorithm, hexadecimal) the claim counts only while the file is
        as the package brought it: `npm install -g npm` replaces the files of a distribution's npm in their places.
        """
        found = self._find(path)
        if found is not None and (digest is None or self._digest(found, digest[0]) == digest[1]):
            self._owners.setdefault(found, owner)

    def place(self, paths: Iterable[str]) -> Place | None:
        """The lowest layer that has one of a package's files, None where none is left.

        Installing a version writes all of its files, so none of them is lower; one that is higher was changed later.
        """
        looked_up = list(islice(paths, min(_LOOKED_UP, self._left)))
        self._left -= len(looked_up)
        places = [self._locate(path) for path in looked_up]
        return min((place for place in places if place is not None), key=lambda place: place.layer_index, default=None)

    def brought_by(self, path: str) -> Place | None:
        """The layer of a file that may be claimed."""
        found = self._find(path)
        return self._files[found] if found is not None else None

    def _find(self, path: str) -> str | None:
        if path in self._files:
            return path
        merged = f"usr/{path}"
        return merged if path.startswith(_MERGED) and merged in self._files else None

    def _digest(self, path: str, algorithm: str) -> str:
        """Remembered, because a list may name one large file without end."""
        key = (path, algorithm)
        if key not in self._digests:
            self._digests[key] = digest_of(self._files[path], algorithm)
        return self._digests[key]
