"""Bringing the image into one verified, content-addressed layout, wherever it comes from."""

from __future__ import annotations

from pathlib import Path

from schema.images.reference import ImageReference
from schema.images.repository import get_upload
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.registries.repository import RegistryAccess, open_registry
from schema.scans.failures import FailureCode, ScanFailure
from schema.scans.models import Scan, SourceKind
from workers.analysis import unpack_archive
from workers.oci.layout import Image
from workers.oci.registry import RegistryCredentials, pull
from workers.runtime import WorkerRuntime


async def fetch_image(scan: Scan, runtime: WorkerRuntime, destination: Path) -> Image:
    """Raises ScanFailure when the image cannot be had or is not what it claims to be."""
    reference = ImageReference.parse(scan.reference)
    match scan.source_kind:
        case SourceKind.REGISTRY:
            return await _pull(scan, reference, runtime, destination)
        case SourceKind.UPLOAD:
            archive = await _uploaded(scan, runtime)
        case SourceKind.PATH:
            archive = Path(scan.source or "")
    return await unpack_archive(
        archive,
        destination,
        platform=scan.platform,
        limits=runtime.limits.image,
        sandbox=runtime.limits.analysis,
    )
