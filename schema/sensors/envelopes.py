"""The head of what sensors send: what it is about, found in a file of any size without reading more of it than that takes.

Pure but for the file. Whether the rest is well-formed is for whoever reads it all to see.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson

from schema.images.reference import ImageReference
from schema.kernel.errors import HarborGuardError, Issue, bad_request, invalid
from schema.sensors.messages import line

MAX_ID = 100
MAX_MEMBER = 1024 * 1024  # bytes of a member that is looked into
_VERSION = "1.0"
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(rb"\s*+(?:(" + _STRING + rb')|([{}\[\]:,])|([^\s"{}\[\]:,]++))', re.DOTALL)
# On to the next bracket that stands in no string.
_BRACKET = re.compile(rb'[^"{}\[\]]*+(?:' + _STRING + rb'[^"{}\[\]]*+)*+([{}\[\]])', re.DOTALL)
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_UNFIT = re.compile(r"[^a-z0-9]+")


def read_members(path: Path, wanted: Collection[str]) -> dict[str, Any]:
    """Those members of the JSON object in a file, as far as they are there. Raises BAD_REQUEST for what is none."""
    if path.stat().st_size == 0:
        raise bad_request("The body is missing; send a JSON object")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found: dict[str, Any] = {}
        for name, start, end in _members(content):
            if name in wanted and name not in found:
                found[name] = _value(content, name, start, end)
                if len(found) == len(wanted):
                    break
        return found


def _value(content: mmap.mmap, name: str, start: int, end: int) -> Any:
    if end - start > MAX_MEMBER:
        raise bad_request(f"The member {name} is larger than {MAX_MEMBER} bytes")
    try:
        return orjson.loads(content[start:end])
    except orjson.JSONDecodeError as error:
        raise bad_request(f"The member {name} is not valid JSON: {error.msg}") from None


def _members(content: mmap.mmap) -> Iterator[tuple[str, int, int]]:
    """Name of each member of the object, and where its value begins and ends."""
    at = _expect(content, 0, b"{")
    while True:
        token = _token(content, at)
        if token.group(2) == b"}":
            return
        if token.group(1) is None:
            raise _malformed()
        try:
            name = str(orjson.loads(token.group(1)))
        except orjson.JSONDecodeError:
            raise _malformed() from None
        start = _expect(content, token.end(), b":")
        end = _skip(content, start)
        yield name, start, end
        token = _token(content, end)
        if token.group(2) == b"}":
            return
        if token.group(2) != b",":
            raise _malformed()
        at = token.end()


def _skip(content: mmap.mmap, at: int) -> int:
    """Where the value ends that begins here."""
    token = _token(content, at)
    if token.group(2) is None:
        return token.end()
    if token.group(2) not in {b"{", b"["}:
        raise _malformed()
    depth, at = 1, token.end()
    while depth:
        bracket = _BRACKET.match(content, at)
        if bracket is None:
            raise _malformed()
        depth += 1 if bracket.group(1) in {b"{", b"["} else -1
        at = bracket.end()
    return at


def _token(content: mmap.mmap, at: int) -> re.Match[bytes]:
    token = _TOKEN.match(content, at)
    if token is None:
        raise _malformed()
    return token


def _expect(content: mmap.mmap, at: int, mark: bytes) -> int:
    token = _token(content, at)
    if token.group(2) != mark:
        raise _malformed()
    return token.end()


def _malformed() -> HarborGuardError:
    return bad_request("The body is not a whole JSON object")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeHead:
    """What an envelope of a scan is about. `scan_id` is the id of our job, or one of the sender's making."""

    scan_id: str
    reference: ImageReference | None
    digest: str | None

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        """Raises VALIDATION_ERROR for what is no envelope, or of a version that is not read."""
        scan, image = _object(members, "scan"), _object(members, "image")
        scan_id = line(scan.get("id"), MAX_ID + 1)
        issues = [*_version_issue(members)]
        if not scan_id:
            issues.append(Issue("scan.id", "Required"))
        elif len(scan_id) > MAX_ID:
            issues.append(Issue("scan.id", f"must be at most {MAX_ID} characters"))
        if issues:
            raise invalid(*issues)
        return cls(scan_id=scan_id, reference=reference_of(image), digest=_digest(image.get("digest")))

    @property
    def image(self) -> str:
        """Raises VALIDATION_ERROR where the envelope names none."""
        if self.reference is None:
            raise invalid(Issue("image.ref", "Required"))
        return str(self.reference)


def _object(members: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = members.get(name)
    return value if isinstance(value, dict) else {}


def _version_issue(members: Mapping[str, Any]) -> Iterator[Issue]:
    if members.get("version") != _VERSION:
        yield Issue("version", f"must be {_VERSION}")


def check_version(members: Mapping[str, Any]) -> None:
    """Raises VALIDATION_ERROR."""
    issues = [*_version_issue(members)]
    if issues:
        raise invalid(*issues)


def reference_of(image: Mapping[str, Any]) -> ImageReference | None:
    """The image an envelope is about. Its `ref` decides: name and tag lose the registry, and cut digests in two.

    Of an archive `ref` is a path on the sensor's machine; that is filed under the name of the file. None for no name at all.
    """
    stated = _SCHEME.sub("", line(image.get("ref"), 1000), count=1)
    name, tag = line(image.get("name"), 300), line(image.get("tag"), 200)
    for text in (stated, f"{name}:{tag}" if tag else name):
        try:
            if text and not text.startswith(("/", ".")):
                return ImageReference.parse(text).with_defaults()
        except HarborGuardError:
            continue
    file = _UNFIT.sub("-", (stated or name).rstrip("/").rpartition("/")[2].lower()).strip("-")[:100]
    return ImageReference(registry="localhost", repository=file, tag="latest") if file else None


def _digest(value: object) -> str | None:
    """Bare, or after a repository's name: both are in the field."""
    stated = line(value, 600).rpartition("@")[2]
    algorithm, _, digits = stated.partition(":")
    length = {"sha256": 64, "sha512": 128}.get(algorithm)
    return stated if length == len(digits) and set(digits) <= set("0123456789abcdef") else None
