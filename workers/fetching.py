"""Bringing the image into one verified, content-addressed layout, wherever it comes from."""

from __future__ import annotations

from pathlib import Path

from schema.images.reference import ImageReference
from schema.images.repository import get_upload
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.registries.repository import RegistryAccess, open_registry
from schema.scans.failures import FailureCode, ScanFailure
from schema.scans.models import Scan, SourceKind
from workers.oci.beside import Beside, envelopes_beside
from workers.oci.client import RegistryCredentials
from workers.oci.layout import Image
from workers.oci.providers import pull_credentials
from workers.oci.registry import OnDigest, pull
from workers.reading import unpack_archive
from workers.runtime import WorkerRuntime
from workers.sandbox import Fence


async def fetch_image(scan: Scan, runtime: WorkerRuntime, destination: Path, *, on_digest: OnDigest) -> Image:
    """Raises ScanFailure when the image cannot be had or is not what it claims to be.

    `on_digest` is told the image's digest as early as it is known: of a registry before the image is fetched. What it
    raises ends the fetching.
    """
    match scan.source_kind:
        case SourceKind.REGISTRY:
            return await _pull(scan, runtime, destination, on_digest)
        case SourceKind.UPLOAD:
            archive = await _uploaded(scan, runtime)
        case SourceKind.PATH:
            assert scan.source is not None, "a local scan names its path"
            archive = Path(scan.source)
        case SourceKind.REPORT:
            raise ValueError("of a report there is no image to fetch")
    image = await unpack_archive(
        archive,
        destination,
        platform=scan.platform,
        limits=runtime.limits.image,
        sandbox=runtime.limits.analysis,
        reference=scan.reference,
        # A path is named by a person on this machine, who may be root and scan what is another's.
        fence=None if scan.source_kind is SourceKind.PATH else Fence(),
    )
    await on_digest(image.digest)
    return image


async def fetch_envelopes(scan: Scan, runtime: WorkerRuntime, digest: str) -> Beside:
    """The signed statements beside an image of a registry. Raises ScanFailure."""
    credentials, insecure = await _entrance(scan, runtime)
    return await envelopes_beside(
        ImageReference.parse(scan.reference),
        digest,
        credentials=credentials,
        http=runtime.http,
        limits=runtime.limits.image,
        insecure=insecure,
    )


async def _pull(scan: Scan, runtime: WorkerRuntime, destination: Path, on_digest: OnDigest) -> Image:
    credentials, insecure = await _entrance(scan, runtime)
    return await pull(
        ImageReference.parse(scan.reference),
        destination,
        platform=scan.platform,
        credentials=credentials,
        http=runtime.http,
        limits=runtime.limits.image,
        insecure=insecure,
        on_digest=on_digest,
    )


async def _entrance(scan: Scan, runtime: WorkerRuntime) -> tuple[RegistryCredentials | None, bool]:
    """(credentials, whether over plain http)."""
    access = await _access(scan, runtime)
    if access is None:
        return None, False
    return await pull_credentials(access, http=runtime.http, clock=runtime.services.clock), access.insecure


async def _access(scan: Scan, runtime: WorkerRuntime) -> RegistryAccess | None:
    """The registry the scan was filed with; None: pull anonymously."""
    if scan.source is None:
        return None
    async with runtime.services.database.read() as session:
        try:
            return await open_registry(session, scan.organization_id, scan.source, runtime.services.keys)
        except HarborGuardError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise
            reason = f"The registry that {scan.reference} was to come from has been removed; scan it again"
            raise ScanFailure(FailureCode.REGISTRY_UNREACHABLE, reason) from None


async def _uploaded(scan: Scan, runtime: WorkerRuntime) -> Path:
    assert scan.source is not None, "a scan of an upload names it"
    async with runtime.services.database.read() as session:
        upload = await get_upload(session, scan.organization_id, scan.source)
    return runtime.services.blobs.path(upload.blob)
