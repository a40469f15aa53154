"""VEX in CycloneDX 1.4 to 1.6 (ECMA-424): vulnerabilities with an analysis, and the components they affect."""

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
)
from schema.dependencies.purls import IMAGES, read_purl
from schema.documents.identity import content_uuid, fingerprint
from schema.documents.product import PRODUCT, VERSION
from schema.kernel.clock import iso_utc

MEDIA_TYPE = "application/vnd.cyclonedx+json; version=1.6"
PROPERTY = "harborguard:attestation"
_STATES = {
    "resolved": VexStatus.FIXED,
    "resolved_with_pedigree": VexStatus.FIXED,
    "exploitable": VexStatus.AFFECTED,
    "in_triage": VexStatus.UNDER_INVESTIGATION,
    "false_positive": VexStatus.NOT_AFFECTED,
    "not_affected": VexStatus.NOT_AFFECTED,
}
# Its justifications are finer than CISA's.
_JUSTIFICATIONS = {
    "code_not_present": Justification.CODE_NOT_PRESENT,
    "code_not_reachable": Justification.CODE_NOT_REACHED,
    "requires_configuration": Justification.CODE_NOT_CONTROLLED,
    "requires_dependency": Justification.CODE_NOT_CONTROLLED,
    "requires_environment": Justification.CODE_NOT_CONTROLLED,
    "protected_by_compiler": Justification.MITIGATED,
    "protected_at_runtime": Justification.MITIGATED,
    "protected_at_perimeter": Justification.MITIGATED,
    "protected_by_mitigating_control": Justification.MITIGATED,
}
_ANALYSES: Mapping[Justification | None, Mapping[str, Any]] = {
    Justification.COMPONENT_NOT_PRESENT: {"state": "false_positive"},
    Justification.CODE_NOT_REACHED: {"state": "not_affected", "justification": "code_not_reachable"},
    Justification.MITIGATED: {"state": "not_affected", "justification": "protected_by_mitigating_control"},
    None: {"state": "exploitable", "response": ["will_not_fix"]},
}


def read(document: Mapping[str, Any]) -> Iterator[VexStatement | Unreadable]:
    components = dict(_components(document))
    for position, given in enumerate(objects(document.get("vulnerabilities"))):
        name, analysis = text(given.get("id")), mapping(given.get("analysis"))
        references = [text(each.get("ref")) for each in objects(given.get("affects"))]
        if not name or not references:
            yield Unreadable(position=position, message="it has no id" if not name else "it affects nothing")
            continue
        state = text(analysis.get("state"))
        if state not in _STATES:
            yield Unreadable(position=position, message="it has no analysis, or one without a known state")
            continue
        is_false = state == "false_positive"
        stated = _JUSTIFICATIONS.get(text(analysis.get("justification")))
        notes = [text(each.get("value")) for each in objects(given.get("properties")) if each.get("name") == PROPERTY]
        used = [components[reference][1] for reference in references if reference in components]
        yield VexStatement(
            vulnerability=name,
            aliases=[text(each.get("id")) for each in objects(given.get("references"))],
            products=[components[each][0] if each in components else _linked(each) for each in references],
            status=_STATES[state],
            justification=Justification.COMPONENT_NOT_PRESENT if is_false and stated is None else stated,
            text=text(analysis.get("detail")) or text(given.get("detail")),
            note=Note.read(notes[0]) if notes else None,
            position=position,
            original={"vulnerability": given, "components": used},
        )


def _components(document: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Product, Mapping[str, Any]]]]:
    """By reference: the product, and the component at the top that holds it."""
    main = mapping(mapping(document.get("metadata")).get("component"))
    stack: list[tuple[Mapping[str, Any], str | None, Mapping[str, Any]]] = [
        (each, None, each) for each in (main, *objects(document.get("components"))) if each
    ]
    while stack:
        component, image, top = stack.pop()
        stated = text(component.get("purl"))
        purl = read_purl(stated)
        is_image = purl is not None and purl.type in IMAGES
        within = stated if is_image else image
        package = stated if purl is not None and not is_image else None
        product = Product(package=package, image=within, name=text(component.get("name")))
        yield text(component.get("bom-ref")) or stated, (product, top)
        stack += [(each, within, top) for each in objects(component.get("components"))]


def _linked(reference: str) -> Product:
    """A package URL for itself; else a component of another document (BOM-Link), which nobody can identify from here."""
    purl = read_purl(reference)
    if purl is None:
        return Product(name=reference)
    return Product(image=reference) if purl.type in IMAGES else Product(package=reference)


def write(statements: Sequence[VexStatement], about: About) -> dict[str, Any]:
    components: dict[str, Mapping[str, Any]] = {}
    vulnerabilities: dict[str, Mapping[str, Any]] = {}
    for each in statements:
        if each.original is None:
            made, given = _vulnerability(each)
        else:
            made, given = each.original["components"], each.original["vulnerability"]
        components |= {text(component.get("bom-ref")): component for component in made}
        vulnerabilities[str(content_uuid(given))] = given
    body = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": iso_utc(about.moment),
            "authors": [{"name": about.author}],
            "tools": {"components": [{"type": "application", "name": PRODUCT, "version": VERSION}]},
        },
        "components": [*components.values()],
        "vulnerabilities": [*vulnerabilities.values()],
    }
    return body | {"serialNumber": content_uuid(body).urn}


def references(original: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """What a statement that is written as it came defines, by the names that must not be defined twice."""
    found = {text(each.get("bom-ref")): each for each in original["components"]}
    own = text(original["vulnerability"].get("bom-ref"))
    return found | ({own: original["vulnerability"]} if own else {})


def _vulnerability(given: VexStatement) -> tuple[list[Mapping[str, Any]], Mapping[str, Any]]:
    assert given.note is not None, "what is ours has one"
    made = [_component(each) for each in given.products]
    analysis = dict(_ANALYSES[given.justification]) | {"detail": given.text}
    if given.made_at:
        analysis["firstIssued"] = iso_utc(given.made_at)
    if given.changed_at:
        analysis["lastUpdated"] = iso_utc(given.changed_at)
    return [component for component, _ in made], {
        "bom-ref": f"attestation-{fingerprint(given.vulnerability, *(each.shown for each in given.products))[:32]}",
        "id": given.vulnerability,
        "analysis": analysis,
        "affects": [{"ref": reference} for _, reference in made],
        "properties": [{"name": PROPERTY, "value": given.note.write()}],
    }


def _component(product: Product) -> tuple[Mapping[str, Any], str]:
    """A component at the top, and the reference of what is meant."""
    inner = _library(product.package, f"{product.image}#{product.package}" if product.image else product.package)
    if product.image is None:
        assert inner is not None, "it is a package or an image"
        return inner, inner["bom-ref"]
    purl = read_purl(product.image)
    assert purl is not None, "we made it"
    # Each image with a package of its own, so that no two are one component of different contents.
    reference = f"{product.image}#image-of-{product.package}" if inner else product.image
    image: dict[str, Any] = {
        "type": "container",
        "bom-ref": reference,
        "name": purl.name,
        "version": purl.version or "",
        "purl": product.image,
    }
    return image | ({"components": [inner]} if inner else {}), inner["bom-ref"] if inner else reference


def _library(package: str | None, reference: str | None) -> dict[str, Any] | None:
    if package is None:
        return None
    purl = read_purl(package)
    assert purl is not None, "we made it"
    named: dict[str, Any] = {"type": "library", "bom-ref": reference, "name": purl.name, "purl": package}
    return (
        named
        | ({"group": purl.namespace} if purl.namespace else {})
        | ({"version": purl.version} if purl.version else {})
    )
