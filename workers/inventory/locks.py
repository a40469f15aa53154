"""Which lock files of an image speak for what runs in it.

A lock file says what somebody meant to install. Where that is in the image, its own description is better evidence, so
an entry counts only if nothing of its name and version is installed anywhere, and once however many lock files name it.
An application that was bundled or compiled leaves nothing but its lock file; that is what they are read for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

# Parts of a path below which lock files belong to other people's packages, to their tests, or to a store of sources.
_NOT_OF_AN_APPLICATION = frozenset(
    {
        ".cargo",
        "__fixtures__",
        "__tests__",
        "dist-packages",
        "example",
        "examples",
        "fixture",
        "fixtures",
        "gems",
        "node_modules",
        "site-packages",
        "template",
        "templates",
        "test",
        "testdata",
        "tests",
        "vendor",
    }
)


def is_of_an_application(path: str) -> bool:
    return _NOT_OF_AN_APPLICATION.isdisjoint(path.split("/")[:-1])


def reachable(roots: Iterable[str], needs: Mapping[str, Collection[str]]) -> set[str]:
    """The roots and everything they need, directly or through others."""
    found: set[str] = set()
    todo = list(roots)
    while todo:
        if (name := todo.pop()) not in found:
            found.add(name)
            todo.extend(needs.get(name, ()))
    return found
