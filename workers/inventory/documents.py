"""Structured files of package managers, read with bounds: JSON, TOML and YAML as objects, or nothing and a note.

A document costs many times its size once it is read, so each kind has a size above which it is not.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from workers.inventory.notes import Notes
from workers.oci.files import ImageFile

if TYPE_CHECKING:
    import yaml

Object: TypeAlias = Mapping[str, Any]

MANIFEST = 1024**2  # bytes of what describes one package
LOCK = 8 * 1024**2  # bytes of what lists all of an application
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_TOML = 4 * 1024**2  # the reader is pure Python
# The reader takes quadratic time over a name of many dotted parts, so one of more than these is refused before. Comments
# and strings are taken out first, because dots in them are harmless. A string that does not end is taken out as far as it
# could go, and nothing is tried twice: a line may be as long as the file.
_TOML_STRINGS = re.compile(
    r'#[^\n]*+|"""(?:[^"\\]|\\.?|"(?!""))*+(?:"""|\Z)|\'\'\'(?:[^\']|\'(?!\'\'))*+(?:\'\'\'|\Z)'
    r'|"(?:[^"\\\n]|\\[^\n])*+"?|\'[^\'\n]*+\'?',
    re.DOTALL,
)
_TOML_LONG_NAME = re.compile(r"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){16}")
_YAML_DEPTH = 16
_YAML_NODES = 500_000


def read_json(file: ImageFile, notes: Notes, *, size: int = MANIFEST) -> Object:
    """The object in the file; empty, with a note, where there is none."""
    if not _fits(file, size, notes):
        return {}
    try:
        document = orjson.loads(file.content.removeprefix(_BYTE_ORDER_MARK))
    except orjson.JSONDecodeError:
        notes.add(file.path, "is not JSON")
        return {}
    return document if isinstance(document, dict) else {}


def read_toml(file: ImageFile, notes: Notes) -> Object:
    """As `read_json`."""
    if not _fits(file, _TOML, notes):
        return {}
    text = file.content.decode("utf-8", "replace")
    if not _TOML_LONG_NAME.search(_TOML_STRINGS.sub("s", text)):
        with suppress(ValueError, RecursionError):
            return tomllib.loads(text)
    notes.add(file.path, "is not TOML")
    return {}


def read_yaml(file: ImageFile, notes: Notes) -> Object:
    """As `read_json`. Every scalar is a text: a version 1.10 is not a number. Aliases, which lock files have none of, are
    refused, because a few of them can stand for a million nodes.
    """
    import yaml  # noqa: PLC0415 -- start-up is part of every scan, and few images have such a file

    if not _fits(file, LOCK, notes):
        return {}
    try:
        document = _built(yaml.parse(file.content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (yaml.YAMLError, ValueError):  # a ValueError also for bytes that are no text
        notes.add(file.path, "is not YAML as package managers write it")
        return {}
    return document if isinstance(document, dict) else {}


def objects(value: object) -> Iterator[Object]:
    """The objects in a list that may be none."""
    if isinstance(value, list):
        yield from (each for each in value if isinstance(each, dict))


def named_objects(value: object) -> Iterator[tuple[str, Object]]:
    """The names and objects of an object that may be none."""
    if isinstance(value, dict):
        yield from ((name, each) for name, each in value.items() if isinstance(name, str) and isinstance(each, dict))


def text(document: Object, key: str) -> str:
    """A text of the document, empty where it is missing or something else."""
    value = document.get(key)
    return value if isinstance(value, str) else ""


def _fits(file: ImageFile, size: int, notes: Notes) -> bool:
    if len(file.content) <= size:
        return True
    notes.add(file.path, f"is too large to be a {file.path.rpartition('/')[2]}")
    return False


def _built(events: Iterator[yaml.Event]) -> object:
    """The first document. Each open collection is a list of what it holds; a mapping's are keys and values in turn."""
    import yaml  # noqa: PLC0415 -- as above

    stack: list[tuple[bool, list[object]]] = [(False, [])]
    for count, event in enumerate(events):
        if count > _YAML_NODES or len(stack) > _YAML_DEPTH or isinstance(event, yaml.AliasEvent):
            raise ValueError("not what a package manager writes")
        if isinstance(event, yaml.ScalarEvent):
            stack[-1][1].append(event.value)
        elif isinstance(event, yaml.CollectionStartEvent):
            stack.append((isinstance(event, yaml.MappingStartEvent), []))
        elif isinstance(event, yaml.CollectionEndEvent):
            is_mapping, held = stack.pop()
            stack[-1][1].append(_mapping(held) if is_mapping else held)
        elif isinstance(event, yaml.DocumentEndEvent):
            break
    return next(iter(stack[0][1]), None)


def _mapping(held: list[object]) -> dict[str, object]:
    pairs = zip(held[::2], held[1::2], strict=False)
    return {key: value for key, value in pairs if isinstance(key, str)}
