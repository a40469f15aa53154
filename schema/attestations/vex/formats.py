"""The formats of VEX, and which of them a document is in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schema.attestations.vex import csaf, cyclonedx, openvex
from schema.attestations.vex.statements import About, Unreadable, VexFormat, VexStatement
from schema.kernel.errors import bad_request


def _defines_nothing(_original: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """How a format is read and written, what it is called in HTTP, and how its files end.

    `references`: what a statement that is written as it came defines by name; two of them may clash.
    """

    read: Callable[[Mapping[str, Any]], Iterator[VexStatement | Unreadable]]
    write: Callable[[Sequence[VexStatement], About], dict[str, Any]]
    media_type: str
    suffix: str
    references: Callable[[Mapping[str, Any]], Mapping[str, Mapping[str, Any]]] = _defines_nothing


CODECS: Mapping[VexFormat, Codec] = {
    VexFormat.OPENVEX: Codec(
        read=openvex.read, write=openvex.write, media_type=openvex.MEDIA_TYPE, suffix=".openvex.json"
    ),
    VexFormat.CYCLONEDX: Codec(
        read=cyclonedx.read,
        write=cyclonedx.write,
        media_type=cyclonedx.MEDIA_TYPE,
        suffix=".cdx.json",
        references=cyclonedx.references,
    ),
    VexFormat.CSAF: Codec(
        read=csaf.read, write=csaf.write, media_type=csaf.MEDIA_TYPE, suffix=".csaf.json", references=csaf.references
    ),
}


def recognise(document: Mapping[str, Any]) -> VexFormat:
    """Raises BAD_REQUEST for what is no VEX document, or of a version that is not read."""
    context = document.get("@context")
    if isinstance(context, str) and context.startswith("https://openvex.dev/ns"):
        return _with(VexFormat.OPENVEX, document, "statements")
    if document.get("bomFormat") == "CycloneDX":
        return _with(VexFormat.CYCLONEDX, document, "vulnerabilities")
    about = document.get("document")
    if isinstance(about, dict) and "csaf_version" in about:
        if about["csaf_version"] != "2.0":
            raise bad_request(f"The document is in CSAF {about['csaf_version']}; 2.0 is read")
        return _with(VexFormat.CSAF, document, "vulnerabilities")
    raise bad_request("The document is in no format of VEX that is read: OpenVEX, CycloneDX or CSAF 2.0")


def _with(found: VexFormat, document: Mapping[str, Any], member: str) -> VexFormat:
    if not isinstance(document.get(member), list):
        raise bad_request(f"The document has no {member}")
    return found
