"""The VEX profile of CSAF 2.0 (OASIS). A CVE has one item there, so everything that is said of it is said in one."""

from __future__ import annotations

import re
from collections import defaultdict
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
    members,
    objects,
    text,
    texts,
)
from schema.dependencies.purls import IMAGES, read_purl
from schema.documents.identity import content_uuid, fingerprint
from schema.documents.product import PRODUCT, VERSION
from schema.kernel.clock import iso_utc

MEDIA_TYPE = "application/json"
NOTE = "HarborGuard attestation"
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,}")
_STATUSES = {
    "known_not_affected": VexStatus.NOT_AFFECTED,
    "known_affected": VexStatus.AFFECTED,
    "fixed": VexStatus.FIXED,
    "first_fixed": VexStatus.FIXED,
    "under_investigation": VexStatus.UNDER_INVESTIGATION,
}
_UNFIXED = {"no_fix_planned", "none_available", "workaround", "mitigation"}


def read(document: Mapping[str, Any]) -> Iterator[VexStatement | Unreadable]:
    tree = mapping(document.get("product_tree"))
    products, groups = dict(_products(tree)), _groups(tree)
    for position, item in enumerate(objects(document.get("vulnerabilities"))):
        ids = [text(each.get("text")) for each in objects(item.get("ids"))]
        name = text(item.get("cve")) or next(filter(None, ids), "")
        found = list(_found(item, groups))
        if not name or not found:
            yield Unreadable(
                position=position, message="it has no id" if not name else "it states the status of no product"
            )
            continue
        original = {"vulnerability": item, "product_tree": _pruned(tree, _named(item, groups), groups)}
        for status, justification, why, note, ids_ in found:
            yield VexStatement(
                vulnerability=name,
                aliases=ids,
                products=[products.get(each, Product(name=each)) for each in ids_],
                status=status,
                justification=justification,
                text=why,
                note=note,
                position=position,
                original=original,
            )


_Found = tuple[VexStatus, Justification | None, str, Note | None, list[str]]


def _found(item: Mapping[str, Any], groups: Mapping[str, Sequence[str]]) -> Iterator[_Found]:
    """Products of which the same is said: (status, justification, why, note, ids of the products)."""
    flags = _by_product(item, "flags", "label", groups)
    impacts = _by_product(item, "threats", "details", groups, {"impact"})
    remedies = _by_product(item, "remediations", "details", groups, _UNFIXED)
    notes = {
        product: text(note.get("text"))
        for note in objects(item.get("notes"))
        if note.get("title") == NOTE
        for product in texts(members(text(note.get("text"))).get("products"))
    }
    for group, status in _STATUSES.items():
        alike: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
        for product in texts(mapping(item.get("product_status")).get(group)):
            why = impacts.get(product, "") if status is VexStatus.NOT_AFFECTED else remedies.get(product, "")
            flag = flags.get(product, "") if status is VexStatus.NOT_AFFECTED else ""
            alike[flag, why, notes.get(product, "")].append(product)
        for (flag, why, note), ids in alike.items():
            justification = Justification(flag) if flag in set(Justification) else None
            yield status, justification, why, Note.read(note), ids


def _by_product(
    item: Mapping[str, Any],
    kind: str,
    member: str,
    groups: Mapping[str, Sequence[str]],
    categories: set[str] | None = None,
) -> dict[str, str]:
    return {
        product: text(each.get(member))
        for each in objects(item.get(kind))
        if categories is None or each.get("category") in categories
        for product in _about(each, groups)
    }


def _about(given: Mapping[str, Any], groups: Mapping[str, Sequence[str]]) -> list[str]:
    grouped = [product for group in texts(given.get("group_ids")) for product in groups.get(group, ())]
    return [*texts(given.get("product_ids")), *grouped]


def _groups(tree: Mapping[str, Any]) -> dict[str, list[str]]:
    return {text(each.get("group_id")): texts(each.get("product_ids")) for each in objects(tree.get("product_groups"))}


def _definitions(tree: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Full product names that stand for themselves."""
    yield from objects(tree.get("full_product_names"))
    stack = objects(tree.get("branches"))
    while stack:
        branch = stack.pop()
        if isinstance(branch.get("product"), dict):
            yield branch["product"]
        stack += objects(branch.get("branches"))


def _products(tree: Mapping[str, Any]) -> Iterator[tuple[str, Product]]:
    known: dict[str, Product] = {}
    for given in _definitions(tree):
        stated = text(mapping(given.get("product_identification_helper")).get("purl"))
        purl, name = read_purl(stated), text(given.get("name"))
        is_image = purl is not None and purl.type in IMAGES
        known[text(given.get("product_id"))] = Product(
            package=stated if purl is not None and not is_image else None, image=stated if is_image else None, name=name
        )
    yield from known.items()
    for relation in objects(tree.get("relationships")):
        whole = mapping(relation.get("full_product_name"))
        part = known.get(text(relation.get("product_reference")), Product())
        within = known.get(text(relation.get("relates_to_product_reference")), Product())
        product = Product(package=part.package, image=within.image, name=text(whole.get("name")))
        yield text(whole.get("product_id")), product


def _named(item: Mapping[str, Any], groups: Mapping[str, Sequence[str]]) -> set[str]:
    """Products that an item speaks of."""
    found = {each for listed in mapping(item.get("product_status")).values() for each in texts(listed)}
    for kind in ("flags", "threats", "remediations"):
        found |= {product for each in objects(item.get(kind)) for product in _about(each, groups)}
    return found | {product for each in objects(item.get("scores")) for product in texts(each.get("products"))}


def _pruned(tree: Mapping[str, Any], wanted: set[str], groups: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The part of a product tree that defines these products."""
    used = {group: ids for group, ids in groups.items() if wanted & set(ids)}
    wanted = wanted | {product for ids in used.values() for product in ids}
    relations = [
        each
        for each in objects(tree.get("relationships"))
        if text(mapping(each.get("full_product_name")).get("product_id")) in wanted
    ]
    for each in relations:
        wanted |= {text(each.get("product_reference")), text(each.get("relates_to_product_reference"))}
    found = {
        "branches": _branches(objects(tree.get("branches")), wanted),
        "full_product_names": [
            each for each in objects(tree.get("full_product_names")) if each.get("product_id") in wanted
        ],
        "relationships": relations,
        "product_groups": [each for each in objects(tree.get("product_groups")) if each.get("group_id") in used],
    }
    return {name: value for name, value in found.items() if value}


def _branches(branches: Sequence[Mapping[str, Any]], wanted: set[str]) -> list[dict[str, Any]]:
    kept = []
    for branch in branches:
        product = mapping(branch.get("product"))
        inner = _branches(objects(branch.get("branches")), wanted)
        if inner:
            kept.append({**branch, "branches": inner})
        elif text(product.get("product_id")) in wanted:
            kept.append(dict(branch))
    return kept


def references(original: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """What an item that is written as it came defines, by the names that must not be defined twice."""
    tree = original["product_tree"]
    found = {text(each.get("product_id")): each for each in _definitions(tree)}
    found |= {text(each["full_product_name"].get("product_id")): each for each in objects(tree.get("relationships"))}
    found |= {f"group {each['group_id']}": each for each in objects(tree.get("product_groups"))}
    item = original["vulnerability"]
    return found | {f"vulnerability {text(item.get('cve'))}": item}


def write(statements: Sequence[VexStatement], about: About) -> dict[str, Any]:
    tree: defaultdict[str, list[Any]] = defaultdict(list)
    items: list[Mapping[str, Any]] = []
    defined: set[str] = set()
    ours: defaultdict[str, list[VexStatement]] = defaultdict(list)
    for each in statements:
        if each.original is None:
            ours[each.vulnerability].append(each)
            continue
        missing = set(references(each.original)) - defined
        defined |= missing
        given = each.original["product_tree"]
        for name, value in _pruned(given, missing, _groups(given)).items():
            tree[name] += value
        items.append(each.original["vulnerability"])
    products = _Products()
    items += [_item(vulnerability, group, products) for vulnerability, group in ours.items()]
    tree["full_product_names"] += products.names.values()
    tree["relationships"] += products.relations.values()
    moment = iso_utc(about.moment)
    body = {
        "product_tree": {name: value for name, value in tree.items() if value},
        "vulnerabilities": items,
    }
    identity = str(content_uuid(body))
    return body | {
        "document": {
            "category": "csaf_vex",
            "csaf_version": "2.0",
            "title": f"Exceptions of {about.author}",
            "publisher": {"category": "user", "name": about.author, "namespace": f"urn:harborguard:{about.author_id}"},
            "tracking": {
                "id": identity,
                "status": "final",
                "version": "1",
                "initial_release_date": moment,
                "current_release_date": moment,
                "revision_history": [{"number": "1", "date": moment, "summary": "Written"}],
                "generator": {"engine": {"name": PRODUCT, "version": VERSION}},
            },
        }
    }


class _Products:
    """Products of statements of ours; the same one has the same id."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.relations: dict[str, Any] = {}

    def add(self, product: Product) -> str:
        parts = [self._name(purl) for purl in (product.package, product.image) if purl]
        if len(parts) == 1:
            return parts[0]
        identity = f"HG-{fingerprint(*parts)[:32]}"
        self.relations[identity] = {
            "category": "default_component_of",
            "product_reference": parts[0],
            "relates_to_product_reference": parts[1],
            "full_product_name": {"product_id": identity, "name": product.shown},
        }
        return identity

    def _name(self, purl: str) -> str:
        identity = f"HG-{fingerprint(purl)[:32]}"
        helper = {"purl": purl}
        self.names[identity] = {"product_id": identity, "name": purl, "product_identification_helper": helper}
        return identity


def _item(vulnerability: str, statements: Sequence[VexStatement], products: _Products) -> dict[str, Any]:
    status: defaultdict[str, list[str]] = defaultdict(list)
    flags: list[Any] = []
    threats: list[Any] = []
    remediations: list[Any] = []
    notes: list[Any] = []
    said: set[str] = set()
    for each in statements:
        assert each.note is not None, "what is ours has one"
        # Of a product one thing is said: the first, which is the latest.
        ids = [identity for identity in map(products.add, each.products) if identity not in said]
        if not ids:
            continue
        said |= set(ids)
        about = {"product_ids": ids}
        if each.justification:
            status["known_not_affected"] += ids
            flags.append({"label": each.justification.value, **about})
            threats.append({"category": "impact", "details": each.text, **about})
        else:
            status["known_affected"] += ids
            remediations.append({"category": "no_fix_planned", "details": each.text, **about})
        notes.append({"category": "other", "title": NOTE, "text": each.note.write(products=ids)})
    named: dict[str, Any] = (
        {"cve": vulnerability}
        if _CVE.fullmatch(vulnerability)
        else {"ids": [{"system_name": vulnerability.partition("-")[0], "text": vulnerability}]}
    )
    parts = {"flags": flags, "threats": threats, "remediations": remediations}
    return named | {"product_status": status, "notes": notes} | {name: part for name, part in parts.items() if part}
