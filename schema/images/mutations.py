"""Bringing an image in as an archive."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry

from schema.audit.repository import record
from schema.images import repository
from schema.images.models import Upload as UploadRow
from schema.images.reference import ImageReference
from schema.images.types import Upload
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.operations import Info, received_field
from schema.kernel.scalars import Archive, ByteStream


@strawberry.type
class ImagesMutation:
    @received_field(
        "scans:create",
        description="Receives a docker-archive or oci-archive (also gzip or zstd). Its content is checked when scanned.",
    )
    async def upload_image(
        self,
        info: Info,
        image: Annotated[
            str, strawberry.argument(description="The reference to file it under, like `acme/api:1.4.7`.")
        ],
        archive: Annotated[Archive, strawberry.argument(description="The archive.")],
    ) -> Upload:
        context = info.context
        reference = ImageReference.parse(image).with_defaults()
        stream = cast("ByteStream", archive)
        blob = await context.services.blobs.receive(
            context.organization_id, stream.chunks, max_bytes=context.services.limits.max_upload_bytes
        )
        row = UploadRow(
            id=new_id(IdPrefix.UPLOAD),
            organization_id=context.organization_id,
            image=str(reference),
            blob=blob.key,
            sha256=blob.sha256,
            size_bytes=blob.size_bytes,
            created_by=context.principal.actor_id,
            created_at=context.now(),
        )
        try:
            async with context.write() as session:
                await repository.insert_upload(session, row.model_dump())
                await record(
                    session,
                    organization_id=context.organization_id,
                    actor=context.principal.actor_id,
                    action="image.uploaded",
                    target=f"upload:{row.id}",
                    ip=context.client_ip,
                    details={"image": row.image, "sha256": row.sha256, "sizeBytes": row.size_bytes},
                    now=row.created_at,
                )
        except BaseException:
            await context.services.blobs.delete(blob.key)
            raise
        return cast("Upload", row)
