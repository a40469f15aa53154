"""JUnit XML as CI systems read it (the form of Jenkins' xUnit plug-in): a test case for each finding, failed by it.

What was dismissed in triage is skipped. A suite in which nothing was found has one case that passed, because CI systems
take an empty report for a mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC
from html import escape

from schema.documents.contents import ScanContents

MEDIA_TYPE = "application/xml"

# Everything XML 1.0 has no place for, escaped or not.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(contents: ScanContents) -> bytes:
    suites = [
        _suite("vulnerabilities", contents, [*_vulnerabilities(contents)]),
        _suite("misconfigurations", contents, [*_misconfigurations(contents)]),
        _suite("secrets", contents, [*_secrets(contents)]),
    ]
    text = _element("testsuites", {"name": f"HarborGuard {contents.reference}"}, *suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()


def _suite(name: str, contents: ScanContents, cases: Sequence[str]) -> str:
    totals = {
        "tests": len(cases) or 1,
        "failures": sum("<failure" in case for case in cases),
        "skipped": sum("<skipped" in case for case in cases),
        "errors": 0,
    }
    attributes = {
        "name": f"{contents.reference} {name}",
        "timestamp": contents.scanned_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        "time": "0",
        **{key: str(value) for key, value in totals.items()},
    }
    clean = _case(contents.reference, f"no {name}")
    return _element("testsuite", attributes, *(cases or [clean]))


def _case(subject: str, name: str, *outcome: str) -> str:
    return _element("testcase", {"classname": subject, "name": name, "time": "0"}, *outcome)


def _failure(kind: str, message: str, details: str) -> str:
    return _element("failure", {"type": kind, "message": message}, _text(details))


def _vulnerabilities(contents: ScanContents) -> Iterator[str]:
    for finding in contents.findings:
        subject = f"{finding.package_type}.{finding.package_name}"
        name = f"{finding.flaw} in {finding.package_name} {finding.package_version}"
        if finding.is_dismissed:
            yield _case(subject, name, _element("skipped", {"message": finding.status.value}))
            continue
        title = finding.title or finding.flaw
        where = f"{finding.path or 'the image'}, layer {finding.layer_index}"
        details = f"{title}\n{finding.advice}\nFound in {where} by {', '.join(finding.sources)}."
        yield _case(subject, name, _failure(finding.severity.value, f"{finding.severity}: {title}", details))


def _misconfigurations(contents: ScanContents) -> Iterator[str]:
    for found in contents.misconfigurations:
        details = "\n".join((*found.evidence, found.remediation))
        failure = _failure(found.severity.value, f"{found.level}: {found.title}", details)
        yield _case(found.check_id, f"{found.title} {found.path}".strip(), failure)


def _secrets(contents: ScanContents) -> Iterator[str]:
    for secret in contents.secrets:
        where = secret.place or secret.path
        failure = _failure(secret.severity.value, f"{secret.severity}: {secret.title}", f"{secret.masked}\n{where}")
        yield _case(secret.rule, f"{secret.title} in {where}", failure)


def _element(name: str, attributes: dict[str, str], *children: str) -> str:
    written = "".join(f' {key}="{_text(value)}"' for key, value in attributes.items())
    return f"<{name}{written}>{''.join(children)}</{name}>" if children else f"<{name}{written}/>"


def _text(value: str) -> str:
    return escape(_FORBIDDEN.sub("\ufffd", value))
