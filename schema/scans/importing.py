"""Receiving what another tool found, so that it becomes a scan. A worker reads it; here only its beginning is looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from schema.audit.repository import record
from schema.images.models import Upload
from schema.images.reference import ImageReference
from schema.images.repository import insert_upload
from schema.kernel.context import RequestContext
from schema.kernel.errors import Issue, invalid
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.validation import Constraint
from schema.scans.formats import ReportFormat, ReportSource, recognised
from schema.scans.inputs import PLATFORM
from schema.scans.trigger import ScanRequest, queue_scan

DIGEST = Constraint(
    pattern="sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}",
    hint="must be sha256: and 64, or sha512: and 128, lower-case hexadecimal digits",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportHeader:
    """What the sender says of a report: the image it is about, and, where that is known, more."""

    image: str
    format: ReportFormat | None
    digest: str | None
    platform: str | None

    def check(self) -> ImageReference:
        """The image's reference. Raises VALIDATION_ERROR."""
        reference = ImageReference.parse(self.image).with_defaults()
        problems = {
            "digest": None if self.digest is None else DIGEST.problem(self.digest),
            "platform": None if self.platform is None else PLATFORM.problem(self.platform),
        }
        if self.digest is not None and reference.digest not in {None, self.digest}:
            problems["digest"] = "is another than the one in image"
        issues = [Issue(name, problem) for name, problem in problems.items() if problem]
        if issues:
            raise invalid(*issues)
        return reference


async def receive_report(context: RequestContext, header: ReportHeader, chunks: AsyncIterator[bytes]) -> str:
    """Keeps a report as it arrives and queues reading it. Returns the id of its scan.

    Raises VALIDATION_ERROR, BAD_REQUEST for what does not begin like a report, PAYLOAD_TOO_LARGE. Then nothing is kept.
    """
    reference, services = header.check(), context.services
    blob = await services.blobs.receive(
        context.organization_id, recognised(chunks, header.format), max_bytes=services.limits.max_report_bytes
    )
    upload = Upload(
        id=new_id(IdPrefix.UPLOAD),
        organization_id=context.organization_id,
        image=str(reference),
        blob=blob.key,
        sha256=blob.sha256,
        size_bytes=blob.size_bytes,
        created_by=context.principal.actor_id,
        created_at=context.now(),
    )
    request = ScanRequest(
        image=header.image,
        scanners=(),
        report=ReportSource(upload_id=upload.id, format=header.format),
        digest=header.digest,
        platform=header.platform,
    )
    try:
        async with context.write() as session:
            await insert_upload(session, upload.model_dump())
            await record(
                session,
                organization_id=context.organization_id,
                actor=context.principal.actor_id,
                action="report.uploaded",
                target=f"upload:{upload.id}",
                ip=context.client_ip,
                details={"image": upload.image, "sha256": upload.sha256, "sizeBytes": upload.size_bytes},
                now=upload.created_at,
            )
            return await queue_scan(session, request, context.principal, ip=context.client_ip, now=upload.created_at)
    except BaseException:
        await services.blobs.delete(blob.key)
        raise
