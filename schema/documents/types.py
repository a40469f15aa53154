"""Documents as the schema shows them."""

from __future__ import annotations

import asyncio
from enum import Enum
from functools import partial
from typing import Annotated, TypeAlias

import strawberry

from schema.documents import dsse, sarif
from schema.documents.contents import ScanContents
from schema.documents.formats import RENDERERS, DocumentFormat
from schema.documents.intoto import PAYLOAD_TYPE, StatementPredicate, statement
from schema.kernel.context import RequestContext
from schema.kernel.errors import conflict
from schema.kernel.ports import StatementSigner

strawberry.enum(
    DocumentFormat,
    graphql_name_from="value",
    description=(
        "cyclonedx: CycloneDX 1.6. spdx: SPDX 2.3. sarif: SARIF 2.1.0. gitlab: GitLab's container-scanning report 15.0. "
        "junit: JUnit XML. markdown: a summary. json: everything."
    ),
)


@strawberry.enum(description="Formats of a bill of materials.", graphql_name_from="value")
class SbomFormat(Enum):
    CYCLONEDX = "cyclonedx"
    SPDX = "spdx"


@strawberry.type(description="A scan in a standard's format. The same scan gives the same bytes.")
class Document:
    media_type: str = strawberry.field(description="Like `application/sarif+json`.")
    filename: str = strawberry.field(description="A name for the file, of the image, the scan and the format.")
    content: str = strawberry.field(description="The document.")


strawberry.enum(
    StatementPredicate,
    graphql_name_from="value",
    description=(
        "vulns: what was found (in-toto.io/attestation/vulns/v0.1). cyclonedx, spdx: the bill of materials "
        "(cyclonedx.org/bom, spdx.dev/Document)."
    ),
)


@strawberry.type(description="The key that signs statements: what others verify them with.")
class Signer:
    id: str = strawberry.field(description="SHA-256 of the public half in DER, hex; `keyid` of the signatures.")
    algorithm: str = strawberry.field(description="Like `ecdsa-secp256r1`, `ed25519`.")
    pem: str = strawberry.field(description="The public half in PEM, as `cosign verify-attestation --key` reads it.")


PredicateArgument: TypeAlias = Annotated[
    StatementPredicate, strawberry.argument(description="What to state; default vulns.")
]
FormatArgument: TypeAlias = Annotated[DocumentFormat, strawberry.argument(description="What to write.")]
SbomArgument: TypeAlias = Annotated[SbomFormat, strawberry.argument(description="Default cyclonedx.")]
PerEngine: TypeAlias = Annotated[
    bool, strawberry.argument(description="For sarif: one run for each provider instead of one of all; default false.")
]
TagArgument: TypeAlias = Annotated[
    str | None, strawberry.argument(description="A tag of the image, like `1.4.7`; without one the latest scan counts.")
]


def admit(context: RequestContext, wanted: DocumentFormat) -> None:
    """Raises FORBIDDEN: a document of findings is for those who may see vulnerabilities."""
    context.principal.require("scans:view")
    if RENDERERS[wanted].tells_flaws:
        context.principal.require("vulnerabilities:view")


async def write(contents: ScanContents, wanted: DocumentFormat, *, per_engine: bool = False) -> Document:
    """Beside the event loop: ten thousand findings take most of a second, in which it has others to serve."""
    renderer = RENDERERS[wanted]
    split = per_engine and wanted is DocumentFormat.SARIF
    render = partial(sarif.render, per_engine=True) if split else renderer.render
    content = await asyncio.to_thread(render, contents)
    name = contents.image.rpartition("/")[2]
    return Document(
        media_type=renderer.media_type,
        filename=f"{name}-{contents.scan_id}{renderer.suffix}",
        content=content.decode(),
    )


def signer_of(context: RequestContext) -> StatementSigner:
    """CONFLICT where the operator has given no key."""
    signer = context.services.statements
    if signer is None:
        raise conflict("This installation signs nothing: its operator has set no HARBORGUARD_SIGNING_KEY_FILE")
    return signer


async def sign(contents: ScanContents, wanted: StatementPredicate, signer: StatementSigner) -> Document:
    """The statement in its envelope. CONFLICT as `statement` has it."""
    payload = await asyncio.to_thread(statement, contents, wanted)
    content = await dsse.seal(PAYLOAD_TYPE, payload, signer)
    name = contents.image.rpartition("/")[2]
    return Document(
        media_type=dsse.MEDIA_TYPE,
        filename=f"{name}-{contents.scan_id}.{wanted}.dsse.json",
        content=content.decode(),
    )
