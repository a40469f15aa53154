"""Making attestations of what a VEX document says. An attestation never covers more than the statement it comes from."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson
from packageurl import PackageURL
from sqlalchemy.ext.asyncio import AsyncSession

from schema.attestations import lifecycle
from schema.attestations.models import AttestationCategory, ScopeType
from schema.attestations.vex import repository
from schema.attestations.vex.exporting import known_purls
from schema.attestations.vex.formats import CODECS, recognise
from schema.attestations.vex.repository import Place
from schema.attestations.vex.statements import (
    CATEGORIES,
    Product,
    Unreadable,
    VexFormat,
    VexStatement,
    VexStatus,
)
from schema.dependencies.purls import KINDS, comparable_name, package_name, read_purl
from schema.kernel.context import RequestContext
from schema.kernel.errors import bad_request
from schema.vulnerabilities.verdicts import settle

MAX_STATEMENTS = 5_000
_SKIPPED = {
    VexStatus.AFFECTED: "It says that the product is affected, which excuses nothing",
    VexStatus.FIXED: "It says that the product is fixed; the next scan tells",
    VexStatus.UNDER_INVESTIGATION: "It decides nothing yet",
}


class Outcome(StrEnum):
    """Published, so append-only."""

    CREATED = "created"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a statement, or of a part of it."""

    position: int
    outcome: Outcome
    cve_id: str | None = None
    product: str | None = None
    attestation_id: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    format: VexFormat
    document: str  # SHA-256 of what it says, whatever the order of its members
    results: Sequence[Result]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """An attestation that a statement amounts to."""

    made_of: VexStatement
    product: str
    statement: lifecycle.Statement
    detected_at: datetime


@dataclass(slots=True, kw_only=True)
class _Importer:
    """Reads nothing twice while it goes through a document."""

    context: RequestContext
    session: AsyncSession
    places: Mapping[str, list[Place]]
    purls: Mapping[tuple[Any, str, str], list[str]]
    in_tags: dict[str, Mapping[str, list[Place]]] = field(default_factory=dict)
    cves: Sequence[str] = ()


async def import_vex(context: RequestContext, document: Mapping[str, Any]) -> Imported:
    """In one transaction, with a result for each statement, or for each part of one.

    Statements that cannot be read, and products nobody has, are refused by themselves. The same document again changes
    nothing. BAD_REQUEST for what is no VEX document.
    """
    wanted = recognise(document)
    digest = hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()
    said = list(CODECS[wanted].read(document))
    if len(said) > MAX_STATEMENTS:
        raise bad_request(f"The document has more than {MAX_STATEMENTS} statements")
    statements = [each for each in said if isinstance(each, VexStatement)]
    cves = sorted({name for each in statements for name in (each.vulnerability, *each.aliases)})
    results = [
        Result(position=each.position, outcome=Outcome.REFUSED, message=each.message)
        for each in said
        if isinstance(each, Unreadable)
    ]
    async with context.write() as session:
        places = await repository.places(session, context.organization_id, cves)
        known = {(place.package_type, place.package_name) for each in places.values() for place in each}
        purls = await repository.purls(session, context.organization_id, known)
        importer = _Importer(context=context, session=session, places=places, purls=purls, cves=cves)
        parts: list[_Part] = []
        for each in statements:
            for found in await _read(importer, each):
                if isinstance(found, Result):
                    results.append(found)
                else:
                    parts.append(found)
        results += await _file(importer, wanted, digest, parts)
    results.sort(key=lambda result: (result.position, result.cve_id or "", result.product or ""))
    return Imported(format=wanted, document=digest, results=results)


async def _read(importer: _Importer, said: VexStatement) -> Sequence[_Part | Result]:
    category = _category(said)
    if category is None:
        message = _SKIPPED.get(said.status, "It does not say why the product is not affected")
        return [Result(position=said.position, outcome=Outcome.SKIPPED, cve_id=said.vulnerability, message=message)]
    note = said.note
    if note and note.expires_at and note.expires_at <= importer.context.now():
        message = "It has expired"
        return [Result(position=said.position, outcome=Outcome.SKIPPED, cve_id=said.vulnerability, message=message)]
    found: list[_Part | Result] = []
    by_image: defaultdict[str | None, list[Product]] = defaultdict(list)
    for product in said.products:
        by_image[product.image].append(product)
    for image, products in by_image.items():
        if image is None:
            found += _parts(importer, said, category, products, importer.places, tag=None)
            continue
        tags = await _tags(importer, image)
        if not tags:
            found.append(_refused(said, products[0], "No tag points to this image"))
        for tag_id, name in tags:
            if tag_id not in importer.in_tags:
                importer.in_tags[tag_id] = await repository.places_in_tag(
                    importer.session, importer.context.organization_id, tag_id, importer.cves
                )
            found += _parts(importer, said, category, products, importer.in_tags[tag_id], tag=(tag_id, name))
    return found


def _category(said: VexStatement) -> AttestationCategory | None:
    if said.note:  # an attestation of somebody who uses this product too
        return said.note.category
    if said.status is not VexStatus.NOT_AFFECTED:
        return None
    if said.justification:
        return CATEGORIES[said.justification]
    return AttestationCategory.NOT_APPLICABLE if said.text else None


async def _tags(importer: _Importer, image: str) -> Sequence[tuple[str, str]]:
    purl = read_purl(image)
    assert purl is not None, "only package URLs are images"
    if not purl.version:
        return []
    qualifiers = purl.qualifiers if isinstance(purl.qualifiers, dict) else {}
    found = await repository.tags_of(
        importer.session, importer.context.organization_id, purl.version, qualifiers.get("repository_url")
    )
    wanted = qualifiers.get("tag")
    return [each for each in found if wanted is None or each[1] == wanted]


def _parts(
    importer: _Importer,
    said: VexStatement,
    category: AttestationCategory,
    products: Sequence[Product],
    places: Mapping[str, list[Place]],
    *,
    tag: tuple[str, str] | None,
) -> Iterator[_Part | Result]:
    """An attestation for each package with the flaw that the products name, all its versions that are there."""
    used: set[int] = set()
    groups: defaultdict[tuple[str, str], list[Place]] = defaultdict(list)
    for cve in dict.fromkeys((said.vulnerability, *said.aliases)):
        for place in places.get(cve, ()):
            groups[cve, place.package_name].append(place)
    for (cve, package), group in groups.items():
        stated = sorted({purl for place in group for purl in known_purls(place, importer.purls)})
        named = {purl: [number for number, each in enumerate(products) if _names(each, purl)] for purl in stated}
        naming = {number for numbers in named.values() for number in numbers}
        if not naming:
            continue
        used |= naming
        shown = products[min(naming)].shown
        missing = [purl for purl, numbers in named.items() if not numbers]
        if missing:
            yield _refused(said, products[min(naming)], f"The flaw is also in {missing[0]}, of which it says nothing")
            continue
        yield _Part(
            made_of=said,
            product=shown,
            statement=_statement(
                importer.context.now(),
                said,
                category,
                cve=cve,
                package=package,
                tag=tag,
                is_versioned=any(_version(products[number]) for number in naming),
            ),
            detected_at=max(place.detected_at for place in group),
        )
    for number, product in enumerate(products):
        if number not in used:
            message = (
                "No finding of the flaw in it is known" if product.package or product.image else "It has no package URL"
            )
            yield _refused(said, product, message)


def _statement(
    now: datetime,
    said: VexStatement,
    category: AttestationCategory,
    *,
    cve: str,
    package: str,
    tag: tuple[str, str] | None,
    is_versioned: bool,
) -> lifecycle.Statement:
    note = said.note
    as_of = note.as_of if note else None
    scope = ScopeType.TAG if tag else ScopeType.HISTORICAL if is_versioned or as_of else ScopeType.BLANKET
    words = note.reason if note else said.text or (said.justification.value if said.justification else "")
    return lifecycle.Statement(
        cve_id=cve,
        package=package,
        category=category,
        reason=words[:4000],
        evidence=note.evidence if note else None,
        scope_type=scope,
        tag_id=tag[0] if tag else None,
        # Of versions that come later it says nothing.
        as_of=min(as_of or now, now) if scope is ScopeType.HISTORICAL else None,
        expires_at=note.expires_at if note else None,
    )


def _names(product: Product, stated: str) -> bool:
    """Whether a product of a document is the package of a URL: what it tells has to agree."""
    if product.package is None:
        return product.image is not None
    theirs, ours = read_purl(product.package), read_purl(stated)
    if (
        theirs is None
        or ours is None
        or theirs.type != ours.type
        or (theirs.namespace or "") not in {"", ours.namespace or ""}
    ):
        return False
    kind = KINDS.get(ours.type)
    if kind is None:
        return theirs.name == ours.name
    names = [comparable_name(kind, package_name(kind, each)) for each in (theirs, ours)]
    if theirs.namespace and names[0] != names[1]:
        return False
    if not theirs.namespace and comparable_name(kind, theirs.name) != comparable_name(kind, ours.name):
        return False
    return theirs.version in {None, ours.version} and _agree(theirs, ours)


def _agree(theirs: PackageURL, ours: PackageURL) -> bool:
    """Qualifiers that both have: an architecture, a distribution."""
    stated, known = theirs.qualifiers, ours.qualifiers
    if not isinstance(stated, dict) or not isinstance(known, dict):
        return True
    return all(known.get(name, value) == value for name, value in stated.items() if name in {"arch", "distro"})


def _version(product: Product) -> str | None:
    purl = read_purl(product.package) if product.package else None
    return purl.version if purl else None


def _refused(said: VexStatement, product: Product, message: str) -> Result:
    return Result(
        position=said.position,
        outcome=Outcome.REFUSED,
        cve_id=said.vulnerability,
        product=product.shown,
        message=message,
    )


async def _file(importer: _Importer, wanted: VexFormat, digest: str, parts: Sequence[_Part]) -> Sequence[Result]:
    context, session = importer.context, importer.session
    holding = dict(
        await repository.holding(session, context.organization_id, {part.statement.cve_id for part in parts})
    )
    results: list[Result] = []
    fresh: defaultdict[int, list[_Part]] = defaultdict(list)
    for part in parts:
        key = _key(part.statement)
        held = holding.get(key)
        if held is not None and (held.as_of is None or held.as_of >= part.detected_at):
            results.append(_result(part, Outcome.UNCHANGED, held.id))
        else:
            fresh[part.made_of.position].append(part)
    pairs = set()
    for position, group in fresh.items():
        for number, part in enumerate(group):
            # The whole statement once: all its parts have to hold when it goes out again.
            original: dict[str, Any] = {
                "format": wanted.value,
                "document": digest,
                "position": position,
                "parts": len(group),
            }
            if number == 0:
                original["original"] = part.made_of.original
            attestation_id = await lifecycle.file_attestation(
                context, session, replace(part.statement, original=original if part.made_of.note is None else None)
            )
            pairs.add((part.statement.cve_id, part.statement.package))
            results.append(_result(part, Outcome.CREATED, attestation_id))
    if pairs:
        images = await repository.images_with_any(session, context.organization_id, pairs)
        await settle(session, context.organization_id, images)
    return results


def _key(statement: lifecycle.Statement) -> tuple[Any, ...]:
    return repository.same(
        statement.cve_id,
        statement.package,
        statement.category,
        statement.reason,
        statement.scope_type,
        statement.tag_id,
    )


def _result(part: _Part, outcome: Outcome, attestation_id: str) -> Result:
    return Result(
        position=part.made_of.position,
        outcome=outcome,
        cve_id=part.statement.cve_id,
        product=part.product,
        attestation_id=attestation_id,
    )
