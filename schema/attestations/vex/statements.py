"""What a VEX document says, whatever its format: of a flaw in products, whether they are affected, and why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

from schema.attestations.models import AttestationCategory
from schema.kernel.clock import iso_utc

MARK = "harborguard:"


class VexFormat(StrEnum):
    """Published, so append-only."""

    OPENVEX = "openvex"
    CYCLONEDX = "cyclonedx"
    CSAF = "csaf"


class VexStatus(StrEnum):
    NOT_AFFECTED = "not_affected"
    AFFECTED = "affected"
    FIXED = "fixed"
    UNDER_INVESTIGATION = "under_investigation"


class Justification(StrEnum):
    """CISA's, of a product that is not affected."""

    COMPONENT_NOT_PRESENT = "component_not_present"
    CODE_NOT_PRESENT = "vulnerable_code_not_present"
    CODE_NOT_REACHED = "vulnerable_code_not_in_execute_path"
    CODE_NOT_CONTROLLED = "vulnerable_code_cannot_be_controlled_by_adversary"
    MITIGATED = "inline_mitigations_already_exist"


# What an attestation is in CISA's words. An accepted risk is no justification: the product is affected.
JUSTIFICATIONS = {
    AttestationCategory.FALSE_POSITIVE: Justification.COMPONENT_NOT_PRESENT,
    AttestationCategory.NOT_APPLICABLE: Justification.CODE_NOT_REACHED,
    AttestationCategory.COMPENSATING_CONTROL: Justification.MITIGATED,
}
CATEGORIES = {
    Justification.COMPONENT_NOT_PRESENT: AttestationCategory.FALSE_POSITIVE,
    Justification.CODE_NOT_PRESENT: AttestationCategory.FALSE_POSITIVE,
    Justification.CODE_NOT_REACHED: AttestationCategory.NOT_APPLICABLE,
    Justification.CODE_NOT_CONTROLLED: AttestationCategory.NOT_APPLICABLE,
    Justification.MITIGATED: AttestationCategory.COMPENSATING_CONTROL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A package, an image, or a package in an image, by package URLs. Without either it cannot be identified."""

    package: str | None = None
    image: str | None = None
    name: str = ""  # how the document calls it

    @property
    def shown(self) -> str:
        if self.image and self.package:
            return f"{self.package} in {self.image}"
        return self.package or self.image or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What an attestation says beyond VEX: written beside a statement of ours, so that it comes back whole."""

    category: AttestationCategory
    reason: str
    evidence: str | None = None
    as_of: datetime | None = None
    expires_at: datetime | None = None

    def write(self, **more: Any) -> str:
        said = {
            "category": self.category.value,
            "reason": self.reason,
            "evidence": self.evidence,
            "asOf": iso_utc(self.as_of) if self.as_of else None,
            "expiresAt": iso_utc(self.expires_at) if self.expires_at else None,
            **more,
        }
        given = {name: value for name, value in said.items() if value is not None}
        return MARK + orjson.dumps(given, option=orjson.OPT_SORT_KEYS).decode()

    @classmethod
    def read(cls, text: str) -> Note | None:
        """Of a text that ends with one; None for any other text."""
        said = members(text)
        try:
            return cls(
                category=AttestationCategory(said["category"]),
                reason=str(said["reason"])[:4000],
                evidence=said.get("evidence"),
                as_of=_moment(said.get("asOf")),
                expires_at=_moment(said.get("expiresAt")),
            )
        except (KeyError, ValueError, TypeError):
            return None


def members(text: str) -> Mapping[str, Any]:
    """Of the note at the end of a text; empty without one."""
    _, mark, written = text.rpartition(MARK)
    try:
        found = orjson.loads(written) if mark else {}
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def without_note(text: str) -> str:
    return text.rpartition(MARK)[0].strip() if members(text) else text


def _moment(text: Any) -> datetime | None:
    if text is None:
        return None
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


@dataclass(frozen=True, slots=True, kw_only=True)
class VexStatement:
    """`text` tells why in words. `position` is the place in its document; `original` is all of it there, as it came."""

    vulnerability: str
    products: Sequence[Product]
    status: VexStatus
    aliases: Sequence[str] = ()
    justification: Justification | None = None
    text: str = ""
    note: Note | None = None
    made_at: datetime | None = None
    changed_at: datetime | None = None
    position: int = 0
    original: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A statement that lacks what it must have."""

    position: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Of a document that is written: who says it, and of when the newest statement is."""

    author: str
    author_id: str
    moment: datetime


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list; empty for what is none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""
