"""Writing the attestations that hold as a VEX document. What was imported goes out as it came in."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sqlalchemy.ext.asyncio import AsyncSession

from schema.attestations.models import Attestation, ScopeType
from schema.attestations.vex import repository
from schema.attestations.vex.formats import CODECS
from schema.attestations.vex.statements import (
    JUSTIFICATIONS,
    About,
    Note,
    Product,
    VexFormat,
    VexStatement,
    VexStatus,
)
from schema.dependencies.purls import purl_of
from schema.dependencies.rules import without_version
from schema.documents.identity import write_json
from schema.kernel.errors import ErrorCode, HarborGuardError

_Origin = tuple[str, int]  # a document, and the place of a statement in it
_Purls = Mapping[tuple[Any, str, str], list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    media_type: str
    filename: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holding:
    """An attestation that holds, and the package URLs of what it is about."""

    attestation: Attestation
    image: str | None
    packages: Sequence[str]


async def export_vex(session: AsyncSession, organization_id: str, wanted: VexFormat) -> Written:
    """NOT_FOUND when no attestation holds: an empty document is in no format valid."""
    rows = await repository.active(session, organization_id)
    if not rows:
        raise HarborGuardError(ErrorCode.NOT_FOUND, "No attestation is active")
    places = await repository.places(session, organization_id, {attestation.cve_id for attestation, _, _ in rows})
    found = {(place.package_type, place.package_name) for each in places.values() for place in each}
    purls = await repository.purls(session, organization_id, found)
    held = []
    for attestation, tag, image in rows:
        about = [place for place in places[attestation.cve_id] if place.package_name == attestation.package_name]
        reference = None if tag is None else _image_purl(image.name, tag)
        held.append(_Holding(attestation=attestation, image=reference, packages=_packages(attestation, about, purls)))
    about_it = About(
        author=await repository.name_of(session, organization_id),
        author_id=organization_id,
        moment=max(each.attestation.updated_at for each in held),
    )
    codec = CODECS[wanted]
    document = codec.write([*_statements(held, wanted)], about_it)
    return Written(media_type=codec.media_type, filename=f"attestations{codec.suffix}", content=write_json(document))


def _statements(held: Sequence[_Holding], wanted: VexFormat) -> Sequence[VexStatement]:
    """Those that go out as they came, each once, then those of ours."""
    kept = _kept([each.attestation for each in held], wanted)
    originals = [
        VexStatement(
            vulnerability=cve,
            products=(),
            status=VexStatus.NOT_AFFECTED,
            position=position,
            original=original,
        )
        for (_, position), (cve, original) in sorted(kept.items())
    ]
    return [*originals, *(_ours(each) for each in held if _origin(each.attestation) not in kept)]


def _kept(held: Sequence[Attestation], wanted: VexFormat) -> Mapping[_Origin, tuple[str, Mapping[str, Any]]]:
    """The statements of which everything that came of them still holds, and that do not clash with one another."""
    left = Counter(_origin(each) for each in held)
    found: dict[_Origin, tuple[str, Mapping[str, Any]]] = {}
    for each in held:
        said = each.statement or {}
        origin = _origin(each)
        if said.get("format") == wanted and "original" in said and origin and left[origin] == said["parts"]:
            found[origin] = (each.cve_id, said["original"])
    references: defaultdict[str, list[tuple[_Origin, Any]]] = defaultdict(list)
    for origin, (_, original) in found.items():
        for name, definition in CODECS[wanted].references(original).items():
            references[name].append((origin, definition))
    clashing = {
        origin
        for each in references.values()
        if any(definition != each[0][1] for _, definition in each)
        for origin, _ in each
    }
    if wanted is VexFormat.CSAF:  # of a CVE everything is said in one item
        whose: defaultdict[str, set[Any]] = defaultdict(set)
        for each in held:
            whose[each.cve_id].add(_origin(each))
        clashing |= {origin for origins in whose.values() if len(origins) > 1 for origin in origins}
    return {origin: value for origin, value in found.items() if origin not in clashing}


def _origin(attestation: Attestation) -> _Origin | None:
    said = attestation.statement
    return None if said is None else (said["document"], said["position"])


def _ours(held: _Holding) -> VexStatement:
    attestation = held.attestation
    justification = JUSTIFICATIONS.get(attestation.category)
    return VexStatement(
        vulnerability=attestation.cve_id,
        products=[Product(package=package, image=held.image) for package in held.packages],
        status=VexStatus.NOT_AFFECTED if justification else VexStatus.AFFECTED,
        justification=justification,
        text=attestation.reason,
        note=Note(
            category=attestation.category,
            reason=attestation.reason,
            evidence=attestation.evidence,
            as_of=attestation.as_of,
            expires_at=attestation.expires_at,
        ),
        made_at=attestation.created_at,
        changed_at=attestation.updated_at,
    )


def _packages(attestation: Attestation, places: Sequence[repository.Place], purls: _Purls) -> Sequence[str]:
    """With versions for what was found up to a date: it says nothing of later ones."""
    is_versioned = attestation.scope_type is ScopeType.HISTORICAL
    found: dict[str, None] = {}
    for place in places:
        for stated in known_purls(place, purls):
            found[stated if is_versioned else without_version(stated)] = None
    return list(found) or [f"pkg:generic/{quote(attestation.package_name, safe='')}"]


def known_purls(place: repository.Place, purls: _Purls) -> Sequence[str]:
    """Of a package; the one its name makes where no inventory tells."""
    known = purls.get((place.package_type, place.package_name, place.package_version))
    if known:
        return known
    made = purl_of(place.package_type, place.package_name, place.package_version)
    return [] if made is None else [made.to_string()]


def _image_purl(name: str, tag: Any) -> str:
    version = f"@{quote(tag.digest, safe='')}" if tag.digest else ""
    bare = name.rpartition("/")[2]
    return f"pkg:oci/{quote(bare)}{version}?repository_url={quote(name, safe='/')}&tag={quote(tag.name)}"
