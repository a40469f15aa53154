"""All SQL of taking attestations out and in as VEX."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.attestations.models import Attestation, AttestationStatus
from schema.dependencies.models import Package
from schema.dependencies.records import PackageType
from schema.images.models import Image, Tag
from schema.kernel.tenancy import tenant
from schema.kernel.upsert import batches
from schema.organizations.models import Organization
from schema.scans.models import Scan
from schema.vulnerabilities.models import ScanFinding, Vulnerability

_Package = tuple[PackageType, str]  # and its name


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A flaw in a version of a package, somewhere; `detected_at` is the latest of them."""

    cve_id: str
    package_type: PackageType
    package_name: str
    package_version: str
    detected_at: datetime


async def name_of(session: AsyncSession, organization_id: str) -> str:
    statement = select(col(Organization.name)).where(col(Organization.id) == organization_id)
    return (await session.execute(statement)).scalar_one()


async def active(session: AsyncSession, organization_id: str) -> Sequence[tuple[Attestation, Any, Any]]:
    """(attestation, tag, image) of all that hold, the latest first; tag and image of those of a tag."""
    statement = (
        select(Attestation, Tag, Image)
        .outerjoin(Tag, and_(col(Tag.id) == col(Attestation.tag_id), tenant(Tag, organization_id)))
        .outerjoin(Image, and_(col(Image.id) == col(Tag.image_id), tenant(Image, organization_id)))
        .where(tenant(Attestation, organization_id), col(Attestation.status) == AttestationStatus.ACTIVE)
        .order_by(col(Attestation.id).desc())
    )
    return [(row[0], row[1], row[2]) for row in (await session.execute(statement)).all()]


async def places(session: AsyncSession, organization_id: str, cves: Iterable[str]) -> Mapping[str, list[Place]]:
    """Where flaws are or were, by flaw."""
    return await _places(session, _flaws(organization_id), sorted(set(cves)))


async def places_in_tag(
    session: AsyncSession, organization_id: str, tag_id: str, cves: Iterable[str]
) -> Mapping[str, list[Place]]:
    """Where flaws are in the latest scan of a tag."""
    statement = (
        _flaws(organization_id)
        .join(ScanFinding, col(ScanFinding.vulnerability_id) == col(Vulnerability.id))
        .join(Scan, func.coalesce(col(Scan.findings_of), col(Scan.id)) == col(ScanFinding.scan_id))
        .join(Tag, col(Tag.last_scan_id) == col(Scan.id))
        .where(
            tenant(ScanFinding, organization_id),
            tenant(Scan, organization_id),
            tenant(Tag, organization_id),
            col(Tag.id) == tag_id,
            col(Tag.image_id) == col(Vulnerability.image_id),
        )
    )
    return await _places(session, statement, sorted(set(cves)))


def _flaws(organization_id: str) -> Any:
    columns = ("cve_id", "package_type", "package_name", "package_version")
    keys = [col(getattr(Vulnerability, name)) for name in columns]
    return (
        select(*keys, func.max(col(Vulnerability.detected_at)).label("detected_at"))
        .where(tenant(Vulnerability, organization_id))
        .group_by(*keys)
        .order_by(*keys)
    )


async def _places(session: AsyncSession, statement: Any, cves: Sequence[str]) -> Mapping[str, list[Place]]:
    found: defaultdict[str, list[Place]] = defaultdict(list)
    for batch in batches(cves):
        for row in (await session.execute(statement.where(col(Vulnerability.cve_id).in_(batch)))).all():
            found[row.cve_id].append(Place(**row._asdict()))
    return found


async def purls(
    session: AsyncSession, organization_id: str, packages: Iterable[_Package]
) -> Mapping[tuple[PackageType, str, str], list[str]]:
    """By type, name and version, the package URLs that packages have."""
    found: defaultdict[tuple[PackageType, str, str], list[str]] = defaultdict(list)
    by_type: defaultdict[PackageType, set[str]] = defaultdict(set)
    for kind, name in packages:
        by_type[kind].add(name)
    columns = (col(Package.name), col(Package.version), col(Package.purl))
    for kind, names in by_type.items():
        for batch in batches(sorted(names)):
            statement = (
                select(*columns)
                .where(tenant(Package, organization_id), col(Package.type) == kind, col(Package.name).in_(batch))
                .distinct()
                .order_by(*columns)
            )
            for name, version, purl in (await session.execute(statement)).all():
                found[kind, name, version].append(purl)
    return found


async def tags_of(
    session: AsyncSession, organization_id: str, digest: str, image: str | None
) -> Sequence[tuple[str, str]]:
    """(id, name) of the tags that point to a digest; in one image, or in any."""
    statement = (
        select(col(Tag.id), col(Tag.name))
        .join(Image, col(Image.id) == col(Tag.image_id))
        .where(
            tenant(Tag, organization_id),
            tenant(Image, organization_id),
            (col(Tag.digest) == digest) | (col(Tag.source_digest) == digest),
        )
        .order_by(col(Tag.id))
    )
    if image is not None:
        statement = statement.where(col(Image.name) == image)
    return [(row[0], row[1]) for row in (await session.execute(statement)).all()]


async def holding(
    session: AsyncSession, organization_id: str, cves: Iterable[str]
) -> Mapping[tuple[Any, ...], Attestation]:
    """Active attestations of flaws, by what makes two of them the same."""
    found: dict[tuple[Any, ...], Attestation] = {}
    for batch in batches(sorted(set(cves))):
        statement = select(Attestation).where(
            tenant(Attestation, organization_id),
            col(Attestation.status) == AttestationStatus.ACTIVE,
            col(Attestation.cve_id).in_(batch),
        )
        for each in (await session.execute(statement)).scalars():
            found[same(each.cve_id, each.package_name, each.category, each.reason, each.scope_type, each.tag_id)] = each
    return found


def same(*parts: Any) -> tuple[Any, ...]:
    """The flaw, the package, the category, the reason, the scope and its tag."""
    return parts


async def images_with_any(
    session: AsyncSession, organization_id: str, pairs: Iterable[tuple[str, str]]
) -> Sequence[str]:
    """Images in which a package has, or had, a flaw, of any of these pairs."""
    wanted = set(pairs)
    images: set[str] = set()
    for batch in batches(sorted({cve for cve, _ in wanted})):
        statement = (
            select(col(Vulnerability.image_id), col(Vulnerability.cve_id), col(Vulnerability.package_name))
            .where(tenant(Vulnerability, organization_id), col(Vulnerability.cve_id).in_(batch))
            .distinct()
        )
        images |= {row[0] for row in (await session.execute(statement)).all() if (row[1], row[2]) in wanted}
    return sorted(images)
