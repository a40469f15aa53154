"""SARIF 2.1.0 (OASIS), within what code scanning takes: results that keep their identity from scan to scan.

One result is one flaw in one package of one image repository: neither version, tag, path nor layer is part of its
fingerprint, so an upgrade that does not help and a file that has moved stay the same alert.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from schema.documents.contents import FindingEntry, MisconfigurationEntry, ScanContents, SecretEntry
from schema.documents.flaws import page_of
from schema.documents.identity import fingerprint, write_json
from schema.documents.product import PRODUCT, VERSION
from schema.images.reference import ImageReference
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.severity import severity_rank

MEDIA_TYPE = "application/sarif+json"

# Of one run. Code scanning shows 5,000 results and 100 locations of each; the rest would be dropped silently.
MAX_RESULTS = 5_000
MAX_LOCATIONS = 100
MAX_TAGS = 10

_LEVELS = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
    Severity.UNKNOWN: "warning",  # nobody has rated it, which is no reason to play it down
}
# `security-severity` that code hosts read as our severity: the bounds of its band, and where it stands without a score.
_BANDS = {
    Severity.CRITICAL: (9.0, 9.5, 10.0),
    Severity.HIGH: (7.0, 8.0, 8.9),
    Severity.MEDIUM: (4.0, 5.5, 6.9),
    Severity.LOW: (0.1, 2.0, 3.9),
}

_Told = TypeVar("_Told", FindingEntry, MisconfigurationEntry, SecretEntry)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    path: str
    layer_digest: str
    layer_index: int
    line: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """What is wrong, wherever it is."""

    id: str
    title: str
    severity: Severity
    score: float | None
    help: str
    page: str | None
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """One alert: a rule, what it is about, and every place of it."""

    rule: _Rule
    message: str
    fingerprint: str
    places: tuple[_Place, ...]
    dismissal: str | None = None

    @property
    def level(self) -> str:
        return _LEVELS[self.rule.severity]


def render(contents: ScanContents, *, per_engine: bool = False) -> bytes:
    """One run of ours over everything; with `per_engine` one run for each provider, with what it reported itself."""
    runs = [*_runs_of_providers(contents)] if per_engine else [_run(contents, PRODUCT, VERSION, _results(contents))]
    return write_json({"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": runs})


def _runs_of_providers(contents: ScanContents) -> Iterator[dict[str, Any]]:
    for provider in sorted({run.provider for run in contents.engines if run.provider}):
        name, _, version = provider.partition(" ")
        yield _run(contents, name, version, _results(contents, source=name), category=name)


def _results(contents: ScanContents, *, source: str | None = None) -> list[_Result]:
    """The most pressing first; those of one source, or all."""

    def told(entries: Iterable[_Told]) -> list[_Told]:
        return [each for each in entries if source is None or source in each.sources]

    results = [
        *_vulnerabilities(contents.image, told(contents.findings)),
        *_misconfigurations(contents.image, told(contents.misconfigurations)),
        *_secrets(contents.image, told(contents.secrets)),
    ]
    # Stable: within a severity vulnerabilities keep their own order and stand before the rest.
    return sorted(results, key=lambda result: -severity_rank(result.rule.severity))


def _run(
    contents: ScanContents, name: str, version: str, results: Sequence[_Result], *, category: str | None = None
) -> dict[str, Any]:
    listed = results[:MAX_RESULTS]
    rules = _rules_of(listed)
    numbers = {rule_id: number for number, rule_id in enumerate(rules)}
    cut = len(results) - len(listed)
    note = f"{len(results)} results; the {MAX_RESULTS} of the highest priority are listed, {cut} are left out."
    notes = [{"level": "warning", "message": {"text": note}}] if cut else []
    return {
        "tool": {
            "driver": {
                "name": name,
                **({"version": version} if version else {}),
                "rules": [_descriptor(rule) for rule in rules.values()],
            }
        },
        # Code hosts read the part before the last slash as the category of the alerts.
        "automationDetails": {"id": f"{_category(contents)}{f':{category}' if category else ''}/"},
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notes}],
        "originalUriBaseIds": {"IMAGE": {"description": {"text": f"The root of {contents.reference}"}}},
        "properties": {
            "image": contents.reference,
            "digest": contents.digest,
            "platform": contents.platform,
            "grade": contents.grade.value if contents.grade else None,
            "resultsLeftOut": cut,
        },
        "results": [_alert(result, numbers[result.rule.id]) for result in listed],
    }


def _category(contents: ScanContents) -> str:
    tag = ImageReference.parse(contents.reference).tag
    return f"harborguard:{contents.image}{f':{tag}' if tag else ''}"


def _rules_of(results: Iterable[_Result]) -> dict[str, _Rule]:
    """By id. Of a flaw that is rated differently in several packages the most severe one speaks, and comes first."""
    rules: dict[str, _Rule] = {}
    for result in results:
        rules.setdefault(result.rule.id, result.rule)
    return rules


def _descriptor(rule: _Rule) -> dict[str, Any]:
    rating = security_severity(rule.severity, rule.score)
    return {
        "id": rule.id,
        "name": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.title},
        "help": {"text": rule.help},
        **({"helpUri": rule.page} if rule.page else {}),
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {
            "tags": [*dict.fromkeys(rule.tags)][:MAX_TAGS],
            "precision": "very-high",
            **({"security-severity": rating} if rating else {}),
        },
    }


def security_severity(severity: Severity, score: float | None) -> str | None:
    """The score as text, held within the band of our severity, which a distribution may have set apart from the score.

    None for UNKNOWN: a number would be a rating.
    """
    if severity not in _BANDS:
        return None
    lowest, middle, highest = _BANDS[severity]
    return f"{middle if score is None else min(max(score, lowest), highest):.1f}"


def _alert(result: _Result, rule_index: int) -> dict[str, Any]:
    suppression = {"kind": "external", "status": "accepted", "justification": result.dismissal}
    return {
        "ruleId": result.rule.id,
        "ruleIndex": rule_index,
        "level": result.level,
        "message": {"text": result.message},
        "locations": [_location(place) for place in result.places[:MAX_LOCATIONS]],
        # The first name is the one that code hosts compare.
        "partialFingerprints": {"primaryLocationLineHash": result.fingerprint, "harborguard/v1": result.fingerprint},
        **({"suppressions": [suppression]} if result.dismissal else {}),
    }


def _location(place: _Place) -> dict[str, Any]:
    region = {"startLine": place.line, "startColumn": 1, "endLine": place.line, "endColumn": 1}
    # What the config says lies in no file; a code host wants a path all the same.
    path = quote(place.path.lstrip("/"), safe="/~") or "config.json"
    location: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": {"uri": path, "uriBaseId": "IMAGE"}, "region": region}
    }
    if place.layer_index >= 0:
        location["message"] = {"text": f"Layer {place.layer_index} ({place.layer_digest})"}
        location["logicalLocations"] = [{"name": place.layer_digest, "kind": "layer"}]
    return location


def _vulnerabilities(image: str, findings: Iterable[FindingEntry]) -> Iterator[_Result]:
    alike: dict[tuple[str, str, str], list[FindingEntry]] = defaultdict(list)
    for finding in findings:
        alike[finding.flaw, finding.package_type.value, finding.package_name].append(finding)
    for (flaw, kind, name), group in alike.items():
        first = group[0]
        versions = ", ".join(dict.fromkeys(finding.package_version for finding in group))
        dismissed = all(finding.is_dismissed for finding in group)
        yield _Result(
            rule=_rule(first),
            message=f"{name} {versions}: {first.title or flaw} ({flaw}, {first.severity}). {first.advice}",
            fingerprint=fingerprint("vulnerability", image, kind, name, flaw),
            places=tuple(_Place(path=e.path, layer_digest=e.layer_digest, layer_index=e.layer_index) for e in group),
            dismissal=first.status.value if dismissed else None,
        )


def _rule(finding: FindingEntry) -> _Rule:
    names = ", ".join(finding.aliases)
    also = f" It is also known as {names}." if names else ""
    tags = ("security", "vulnerability", finding.severity.value.lower(), finding.package_type.value)
    return _Rule(
        id=finding.flaw,
        title=finding.title or finding.flaw,
        severity=finding.severity,
        score=finding.cvss,
        help=f"{finding.title or finding.flaw}.{also} {finding.advice} {page_of(finding.flaw)}",
        page=page_of(finding.flaw),
        tags=(*tags, "fixable") if finding.fixed_versions else tags,
    )


def _misconfigurations(image: str, misconfigurations: Iterable[MisconfigurationEntry]) -> Iterator[_Result]:
    alike: dict[str, list[MisconfigurationEntry]] = defaultdict(list)
    for found in misconfigurations:
        alike[found.check_id].append(found)
    for check_id, group in alike.items():
        first = group[0]
        evidence = "; ".join(dict.fromkeys(line for found in group for line in found.evidence))
        yield _Result(
            rule=_Rule(
                id=check_id,
                title=first.title,
                severity=first.severity,
                score=None,
                help=f"{first.title}. {first.remediation}",
                page=None,
                tags=("security", "misconfiguration", first.level.value.lower()),
            ),
            message=f"{first.title}: {evidence}" if evidence else first.title,
            fingerprint=fingerprint("misconfiguration", image, check_id),
            places=tuple(_Place(path=e.path, layer_digest=e.layer_digest, layer_index=e.layer_index) for e in group),
        )


def _secrets(image: str, secrets: Iterable[SecretEntry]) -> Iterator[_Result]:
    alike: dict[tuple[str, str, str], list[SecretEntry]] = defaultdict(list)
    for secret in secrets:
        alike[secret.rule, secret.masked, secret.place].append(secret)
    for (rule, masked, place), group in alike.items():
        first = group[0]
        where = f" in {place}" if place else ""
        deleted = " A later layer deletes the file; it is still in the image." if first.deleted else ""
        yield _Result(
            rule=_Rule(
                id=rule,
                title=first.title,
                severity=first.severity,
                score=None,
                help=f"{first.title}. Revoke it, take it out of the image, and build anew from a layer that never had it.",
                page=None,
                tags=("security", "secret"),
            ),
            message=f"{first.title}{where}: {masked}.{deleted}",
            fingerprint=fingerprint("secret", image, rule, masked, place),
            places=tuple(
                _Place(path=e.path, layer_digest=e.layer_digest, layer_index=e.layer_index, line=e.line or 1)
                for e in group
            ),
        )
