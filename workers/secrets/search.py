"""Looks for secrets in bytes. What it returns never holds one: only how it is masked, and where it stands.

One pass of an automaton over all keywords tells which rules can apply at all; nearly always none.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

import re2  # type: ignore[import-untyped]  # the package has no annotations

from workers.secrets.names import is_secret_name, is_secret_value
from workers.secrets.places import is_harmless, is_package_code
from workers.secrets.rules import RULES, Rule

FILE_BYTES = 5 * 1024**2  # of a file that are searched, from its start
PROBE_BYTES = 8192  # a file with a zero byte among these is binary and not searched, which is how Git tells
FILE_SIGHTINGS = 50  # in one file
REDACTED_CHARACTERS = 64 * 1024  # of a text; what is behind is cut off, not shown as it is
DOCUMENT_DEPTH = 100  # objects and lists within each other; what tools print has a tenth of it
_TRIED = 2000  # matches of one rule in one file that are looked at
_JUDGED = 200  # bytes of a secret that entropy and placeholders are judged by
_FEWEST = 5  # different characters
_LONG, _MEDIUM = 32, 16  # characters from which on four at both ends, four at the start are shown
_SHOWN = 4
_HIDDEN = "********"
_CONFIG = ".env"  # what the config says is searched as if it stood in such a file
# In lower case. Such a word makes the whole an example.
_PLACEHOLDERS = (
    *(
        b"example",
        b"changeme",
        b"change-me",
        b"change_me",
        b"placeholder",
        b"your-",
        b"your_",
        b"yourtoken",
        b"yourpass",
    ),
    *(b"dummy", b"redacted", b"xxxx", b"****", b"....", b"abcdef", b"123456789", b"987654321", b"insert-", b"replace"),
)
_WORDS = frozenset(
    b"pass passwd password passw0rd secret pw pwd user username token test testing foo bar baz guest admin root none null"
    b" mypassword mypass userpass p4ssw0rd s3cret host port 8080 8000 3128".split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A secret in a text: bytes `start` to `end`, on `line` from 1.

    `fingerprint` is equal for equal secrets. It stays in the process: a weak password could be guessed from it.
    """

    rule: Rule
    start: int
    end: int
    line: int
    masked: str
    fingerprint: bytes


class _Searcher(NamedTuple):
    keywords: re2.Set
    by_keyword: tuple[int, ...]  # the rule's place in RULES
    patterns: tuple[re2._Regexp, ...]
    assignments: re2._Regexp


def search(content: bytes, path: str = _CONFIG) -> list[Sighting]:
    """The secrets in a file, at most 50, in the order in which they stand. Without a path, in what the config says."""
    return sorted(islice(_sightings(content, path, tried=_TRIED), FILE_SIGHTINGS), key=lambda each: each.start)


def _sightings(content: bytes, path: str, *, tried: int) -> Iterator[Sighting]:
    """In the order of the rules. `tried` are the matches of one rule that are looked at."""
    searcher = _searcher()
    found = searcher.keywords.Match(content)
    if not found or is_harmless(path):
        return
    package = is_package_code(path)
    claimed: list[tuple[int, int]] = []
    for number in sorted({searcher.by_keyword[each] for each in found}):
        rule = RULES[number]
        if (rule.paths and not path.endswith(rule.paths)) or (rule.everyday and package):
            continue
        for start, end in islice(_spans(searcher.patterns[number], content), tried):
            free = not any(start < other_end and other_start < end for other_start, other_end in claimed)
            if free and _is_likely(content[start:end], rule):
                claimed.append((start, end))
                yield _sighting(content, start, end, rule)


def is_binary(head: bytes) -> bool:
    return b"\0" in head


def mask(secret: str) -> str:
    """All that is ever shown of a secret. Its length is not told either."""
    secret = "".join(secret.split())
    shown = secret if secret.isascii() and secret.isprintable() else ""
    if len(shown) >= _LONG:
        return f"{shown[:_SHOWN]}{_HIDDEN}{shown[-_SHOWN:]}"
    if len(shown) >= _MEDIUM:
        return f"{shown[:_SHOWN]}{_HIDDEN}"
    return _HIDDEN


def redact(text: str) -> str:
    """The text with every secret masked, and every value that is assigned to a name which says that it is one."""
    if len(text) > REDACTED_CHARACTERS:
        # Up to a space, as half a secret does not look like one.
        text = "".join([*text[:REDACTED_CHARACTERS].rpartition(" ")[:2], "…"])
    content = text.encode("utf-8", "surrogatepass")
    spans = [(each.start, each.end, each.masked) for each in _sightings(content, _CONFIG, tried=len(content))]
    for start, end in _spans(_searcher().assignments, content):
        name, separator, value = _parts(content[start:end])
        at = start + len(name) + len(separator)
        if is_secret_name(name.decode("ascii")) and is_secret_value(value.decode("utf-8", "replace")):
            spans.append((at, end, _HIDDEN))
    pieces, at = [], 0
    for start, end, masked in sorted(_outermost(spans)):
        pieces += [content[at:start], masked.encode()]
        at = end
    return b"".join([*pieces, content[at:]]).decode("utf-8", "replace")


def redact_document(document: Any, depth: int = DOCUMENT_DEPTH) -> Any:
    """A document of JSON with every text redacted. What lies deeper than `depth` is left out."""
    if isinstance(document, str):
        return redact(document)
    if isinstance(document, dict):
        return {key: redact_document(value, depth - 1) for key, value in document.items()} if depth else None
    if isinstance(document, list):
        return [redact_document(each, depth - 1) for each in document] if depth else None
    return document


def redact_summary(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of an image's config, with every text redacted, and every value whose name says that it is a secret."""
    return {key: _redact_value(key, value) for key, value in summary.items()}


def _redact_value(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return _HIDDEN if is_secret_name(name) and is_secret_value(value) else redact(value)
    if isinstance(value, list):
        return [redact(each) if isinstance(each, str) else each for each in value]
    return redact_summary(value) if isinstance(value, dict) else value


def _outermost(spans: list[tuple[int, int, str]]) -> Iterator[tuple[int, int, str]]:
    """Spans that do not overlap: of those that do, the one that reaches furthest covers, and shows least."""
    joined: list[tuple[int, int, str]] = []
    for start, end, masked in sorted(spans):
        if joined and start < joined[-1][1]:
            first, last, shown = joined[-1]
            joined[-1] = (first, max(last, end), shown if (first, last) == (start, end) else _HIDDEN)
        else:
            joined.append((start, end, masked))
    return iter(joined)


def _parts(assignment: bytes) -> tuple[bytes, bytes, bytes]:
    at = next(index for index, byte in enumerate(assignment) if byte in b"=:")
    return assignment[:at], assignment[at : at + 1], assignment[at + 1 :]


@cache
def _searcher() -> _Searcher:
    keywords, by_keyword = re2.Set.SearchSet(_options()), []
    for number, rule in enumerate(RULES):
        for keyword in rule.keywords:
            keywords.Add(("(?i)" if rule.folded else "") + re2.escape(keyword))
            by_keyword.append(number)
    keywords.Compile()
    return _Searcher(
        keywords=keywords,
        by_keyword=tuple(by_keyword),
        patterns=tuple(re2.compile(rule.pattern.encode(), _options()) for rule in RULES),
        assignments=re2.compile(
            rb"""(?:^|[^0-9A-Za-z_.])([A-Za-z_][0-9A-Za-z_.-]{0,80}[=:](?:"[^"]*"|'[^']*'|[^\s;&|"']+))""", _options()
        ),
    )


def _options() -> re2.Options:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # files are bytes
    options.log_errors = False
    return options


def _spans(pattern: re2._Regexp, content: bytes) -> Iterator[tuple[int, int]]:
    """Where the group of the pattern stands."""
    return (match.span(1) for match in pattern.finditer(content))


def _is_likely(secret: bytes, rule: Rule) -> bool:
    judged = secret[:_JUDGED]
    lowered = judged.lower()
    if any(word in lowered for word in _PLACEHOLDERS) or lowered.strip(b"<>{}[]%$") in _WORDS:
        return False
    if rule.entropy:
        if len(set(judged)) < _FEWEST or _entropy(judged) < rule.entropy:
            return False
        if rule.id == "assigned-secret":
            return _is_random(judged)
    return True


def _is_random(value: bytes) -> bool:
    """Tells a value that was made up by a machine from a word, a path, an address or a version."""
    letters = sum(byte in _LETTERS for byte in value)
    digits = sum(byte in _DIGITS for byte in value)
    is_place = b"://" in value or value[:1] in {b"/", b"."} or value.count(b".") > 1
    return letters > 1 and digits > 1 and not is_place


_LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_DIGITS = frozenset(b"0123456789")


def _entropy(text: bytes) -> float:
    """Bits for a character, by how often each occurs (Shannon)."""
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())


def _sighting(content: bytes, start: int, end: int, rule: Rule) -> Sighting:
    secret = content[start:end]
    return Sighting(
        rule=rule,
        start=start,
        end=end,
        line=content.count(b"\n", 0, start) + 1,
        masked=mask(secret.decode("utf-8", "replace")),
        fingerprint=hashlib.sha256(secret).digest(),
    )
