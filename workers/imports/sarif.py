"""SARIF 2.1.0: results about vulnerable packages (docs.oasis-open.org/sarif/sarif/v2.1.0).

SARIF has no word for a package. It is told by a package URL among the properties where there is one, as Grype and Docker
Scout write them, else by the sentences of Trivy, Grype and OSV-Scanner. A kind of package that neither says nor the name
of the file it was found in tells is not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from packageurl import PackageURL

from schema.dependencies.purls import purl_of
from schema.dependencies.records import PackageRecord, PackageType
from schema.scans.formats import ReportFormat
from schema.vulnerabilities.records import FindingRecord, Severity
from schema.vulnerabilities.severity import severity_from_words, severity_of_score
from workers.engines.documents import EngineFailure, Object, mapping, objects, path, text, texts
from workers.engines.report import MAX_FINDINGS, EngineReport, at_most, findings
from workers.engines.syft import TYPES
from workers.imports.purls import Shelf, parse_purl
from workers.imports.report import Generator, ImportedReport, Subject, digest_of

VERSION = "2.1.0"
_SENTENCE = 2000  # characters of a message that are looked at
_FLAW = re.compile(
    r"CVE-[0-9]{4}-[0-9]{4,19}|GHSA(?:-[0-9a-z]{4}){3}|(?:GO|PYSEC|RUSTSEC|OSV|MAL)-[0-9]{4}-[0-9]+"
    r"|SNYK(?:-[A-Z0-9]+)+|(?:ALAS|ALSA|DLA|DSA|ELSA|RHSA|RLSA|USN)-[0-9][0-9:._-]*"
)
_SAID = (
    re.compile(r"Package: (?P<name>\S+) Installed Version: (?P<version>\S+)"),  # Trivy
    re.compile(r"in (?P<kind>\S+) package: (?P<name>\S+), version (?P<version>\S+) was found"),  # Grype
    re.compile(r"Package '(?P<name>[^']+)@(?P<version>[^'@]+)' is vulnerable"),  # OSV-Scanner
)
_RATED = re.compile(r"Severity: (\w+)|^An? (\w+) vulnerability")
_FIXED = re.compile(r"Fix(?:ed)? Version: ([^:]+?) (?:Link|Type):")
_FAILED = frozenset({"", "fail", "open", "review"})  # kinds of results that found something
# Ends of the names of files in which packages of a language stand.
_FILES = {
    ".dist-info/METADATA": PackageType.PIP,
    ".egg-info/PKG-INFO": PackageType.PIP,
    "Pipfile.lock": PackageType.PIP,
    "poetry.lock": PackageType.PIP,
    "requirements.txt": PackageType.PIP,
    "uv.lock": PackageType.PIP,
    "package.json": PackageType.NPM,
    "package-lock.json": PackageType.NPM,
    "pnpm-lock.yaml": PackageType.NPM,
    "yarn.lock": PackageType.NPM,
    ".ear": PackageType.MAVEN,
    ".jar": PackageType.MAVEN,
    ".war": PackageType.MAVEN,
    "pom.xml": PackageType.MAVEN,
    ".gemspec": PackageType.GEM,
    "Gemfile.lock": PackageType.GEM,
    "go.mod": PackageType.GO,
    "Cargo.lock": PackageType.CARGO,
    "composer.lock": PackageType.COMPOSER,
    "vendor/composer/installed.json": PackageType.COMPOSER,
    ".deps.json": PackageType.NUGET,
    "packages.lock.json": PackageType.NUGET,
}


def read(document: Object) -> ImportedReport:
    """Raises EngineFailure for what is none, or of another version."""
    if document.get("version") != VERSION or not isinstance(document.get("runs"), list):
        raise EngineFailure(f"wrote version {text(document.get('version'))[:20] or 'unknown'}; read is {VERSION}")
    runs = list(objects(document["runs"]))
    shelf, skipped = Shelf(_subject(runs)), {"suppressed": 0, "about no vulnerability": 0}
    found = at_most(MAX_FINDINGS, "findings", _findings(runs, shelf, skipped))
    notes = (f"{count} results are {why} and left out" for why, count in skipped.items() if count)
    return ImportedReport(
        format=ReportFormat.SARIF,
        generator=_generator(runs),
        subject=shelf.subject,
        report=EngineReport(
            findings=found,
            warnings=(*shelf.left_out.lines(), *notes, *shelf.notes.lines()),
            unjudged=shelf.left_out.findings.total(),
        ),
    )


def _generator(runs: Iterable[Object]) -> Generator:
    """The one tool of all runs. Of several each is named, and none is taken for the whole."""
    drivers = [mapping(mapping(run.get("tool")).get("driver")) for run in runs]
    named = {text(each.get("name")): text(each.get("semanticVersion")) or text(each.get("version")) for each in drivers}
    if len(named) == 1:
        [(name, version)] = named.items()
        return Generator(name=name, version=version)
    return Generator(name=", ".join(named))


def _subject(runs: Iterable[Object]) -> Subject:
    """Trivy states the digests in the registry among the properties of its run."""
    digests = [digest for run in runs for digest in texts(mapping(run.get("properties")).get("repoDigests"))]
    return Subject(digest=digest_of(*digests))


def _findings(runs: Iterable[Object], shelf: Shelf, skipped: dict[str, int]) -> Iterator[FindingRecord]:
    for run in runs:
        rules = list(objects(mapping(mapping(run.get("tool")).get("driver")).get("rules")))
        by_id = {text(rule.get("id")): rule for rule in rules}
        for result in objects(run.get("results")):
            stated = text(result.get("ruleId")) or text(mapping(result.get("rule")).get("id"))
            rule = by_id.get(stated) or _indexed(rules, result.get("ruleIndex"))
            names = _names(stated or text(rule.get("id")), rule)
            if text(result.get("kind")) not in _FAILED or not names:
                skipped["about no vulnerability"] += 1
            elif result.get("suppressions"):
                skipped["suppressed"] += 1
            else:
                yield from _of_result(result, rule, names, shelf)


def _indexed(rules: list[Object], index: object) -> Object:
    return rules[index] if isinstance(index, int) and 0 <= index < len(rules) else {}


def _names(rule_id: str, rule: Object) -> list[str]:
    """Ids of flaws: Grype's rules are called after a flaw and a package, OSV-Scanner's after a flaw and its aliases."""
    return [match[0] for name in (rule_id, *texts(rule.get("deprecatedIds"))) if (match := _FLAW.match(name))]


def _of_result(result: Object, rule: Object, names: list[str], shelf: Shelf) -> Iterator[FindingRecord]:
    message = text(mapping(result.get("message")).get("text"), _SENTENCE)
    packages = [each for each in _packages(result, rule, message, shelf) if each is not None]
    explained = text(mapping(rule.get("help")).get("text"), _SENTENCE)
    fixed = _FIXED.search(message) or _FIXED.search(explained)
    properties = mapping(rule.get("properties"))
    for package in packages:
        yield from findings(
            names,
            package,
            severity=_severity(message, properties),
            vectors=(text(properties.get(name)) for name in ("cvssV4", "cvssV3", "cvssv3_vector")),
            fixed=(each.strip() for each in fixed[1].split(",")) if fixed else (),
            title=text(mapping(rule.get("shortDescription")).get("text")),
        )
    if not packages:
        shelf.left_out.findings["SARIF"] += 1


def _packages(result: Object, rule: Object, message: str, shelf: Shelf) -> Iterator[PackageRecord | None]:
    place = _place(result)
    purls = [purl for holder in (result, rule) for purl in _purls(mapping(holder.get("properties")))]
    if purls:
        yield from (shelf.package(purl, at=(place, "")) for purl in purls)
        return
    said = next(filter(None, (pattern.search(message) for pattern in _SAID)), None)
    kind = said and (TYPES.get(said.groupdict().get("kind", "")) or _kind(place))
    if said and kind:
        yield shelf.package(purl_of(kind, said["name"], said["version"]), name=said["name"], at=(place, ""))


def _purls(properties: Mapping[str, object]) -> Iterator[PackageURL]:
    single = properties.get("purl")
    for stated in (*([single] if single else ()), *texts(properties.get("purls"), _SENTENCE)):
        purl = parse_purl(stated)
        if purl is not None:
            yield purl


def _place(result: Object) -> str:
    location = mapping(next(objects(result.get("locations")), {}).get("physicalLocation"))
    return path(mapping(location.get("artifactLocation")).get("uri"))


def _kind(place: str) -> PackageType | None:
    return next((kind for ending, kind in _FILES.items() if place.endswith(ending)), None)


def _severity(message: str, properties: Mapping[str, object]) -> Severity:
    """In words, of the message or among the tags; else by the score that code hosts read."""
    rated = _RATED.search(message)
    words = [(rated[1] or rated[2]) if rated else "", text(properties.get("severity")), *texts(properties.get("tags"))]
    found = next(filter(None, map(severity_from_words, words)), None)
    if found is None:
        try:
            return severity_of_score(float(text(properties.get("security-severity"))))
        except ValueError:
            return Severity.UNKNOWN
    return found
