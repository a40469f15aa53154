"""Reading what documents are signed with."""

from __future__ import annotations

import strawberry

from schema.documents.types import Signer, signer_of
from schema.kernel.operations import Info, query_field


@strawberry.type
class DocumentsQuery:
    @query_field(
        "scans:view",
        description="The key that signs statements about scans. CONFLICT where the operator has given none.",
    )
    async def signer(self, info: Info) -> Signer:
        public = signer_of(info.context).public
        return Signer(id=public.fingerprint, algorithm=public.algorithm, pem=public.pem)
