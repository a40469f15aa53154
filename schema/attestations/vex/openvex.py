"""OpenVEX 0.2 (github.com/openvex/spec)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from schema.attestations.vex.statements import (
    About,
    Justification,
    Note,
    Product,
    Unreadable,
    VexStatement,
    VexStatus,
    mapping,
    objects,
    text,
    texts,
    without_note,
)
from schema.dependencies.purls import IMAGES, read_purl
from schema.documents.identity import content_uuid
from schema.documents.product import PRODUCT, VERSION
from schema.kernel.clock import iso_utc

CONTEXT = "https://openvex.dev/ns/v0.2.0"
MEDIA_TYPE = "application/json"


def read(document: Mapping[str, Any]) -> Iterator[VexStatement | Unreadable]:
    inherited = {name: document[name] for name in ("timestamp", "last_updated") if name in document}
    for position, given in enumerate(objects(document.get("statements"))):
        vulnerability = mapping(given.get("vulnerability"))
        name = text(vulnerability.get("name"))
        products = [found for each in objects(given.get("products")) for found in _products(each)]
        try:
            status = VexStatus(text(given.get("status")))
            justification = Justification(given["justification"]) if "justification" in given else None
        except ValueError as error:
            yield Unreadable(position=position, message=str(error))
            continue
        if not name or not products:
            yield Unreadable(
                position=position, message="it names no vulnerability" if not name else "it names no product"
            )
            continue
        notes = text(given.get("status_notes"))
        said = (text(given.get("impact_statement")), without_note(notes), text(given.get("action_statement")))
        yield VexStatement(
            vulnerability=name,
            aliases=texts(vulnerability.get("aliases")),
            products=products,
            status=status,
            justification=justification,
            text=next(filter(None, said), ""),
            note=Note.read(notes),
            position=position,
            # What it inherits from its document it has to say itself in another.
            original={**inherited, **given},
        )


def _products(given: Mapping[str, Any]) -> Iterator[Product]:
    own = _name(given)
    purl = read_purl(own)
    subcomponents = objects(given.get("subcomponents"))
    if purl is not None and purl.type in IMAGES:
        if not subcomponents:
            yield Product(image=own)
        for each in subcomponents:
            inner = _name(each)
            yield Product(image=own, package=inner if read_purl(inner) else None, name=inner)
    elif purl is not None:
        yield Product(package=own)
    else:
        yield Product(name=own)


def _name(given: Mapping[str, Any]) -> str:
    return text(mapping(given.get("identifiers")).get("purl")) or text(given.get("@id"))


def write(statements: Sequence[VexStatement], about: About) -> dict[str, Any]:
    body = {
        "@context": CONTEXT,
        "author": about.author,
        "timestamp": iso_utc(about.moment),
        "version": 1,
        "tooling": f"{PRODUCT} {VERSION}",
        "statements": _unique([_statement(each) for each in statements]),
    }
    return body | {"@id": content_uuid(body).urn}


def _unique(statements: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({str(content_uuid(each)): each for each in statements}.values())


def _statement(given: VexStatement) -> dict[str, Any]:
    if given.original is not None:
        return dict(given.original)
    assert given.note is not None, "what is ours has one"
    said: dict[str, Any] = {
        "vulnerability": {"name": given.vulnerability},
        "products": [_product(each) for each in given.products],
        "status": given.status.value,
        "status_notes": f"{given.text}\n\n{given.note.write()}",
    }
    if given.justification:
        said["justification"] = given.justification.value
    if given.status is VexStatus.AFFECTED:
        said["action_statement"] = given.text
    if given.made_at:
        said["timestamp"] = iso_utc(given.made_at)
    if given.changed_at and given.changed_at != given.made_at:
        said["last_updated"] = iso_utc(given.changed_at)
    return said


def _product(given: Product) -> dict[str, Any]:
    if given.image is None:
        return {"@id": given.package}
    return {"@id": given.image} | ({"subcomponents": [{"@id": given.package}]} if given.package else {})
