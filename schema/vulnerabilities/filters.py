"""What a list of vulnerabilities can be filtered by, as values and as conditions. Every filter holds by itself; all of them
together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Float, Select, String, and_, case, cast, false, func, or_, select, true
from sqlmodel import col

from schema.cves.models import Cve
from schema.images.models import Image, Tag
from schema.kernel.columns import UtcDateTime
from schema.kernel.errors import bad_request
from schema.kernel.listing import Branch
from schema.kernel.parameters import ORGANIZATION, any_of, parameter
from schema.kernel.search import contains, matches_glob, pattern
from schema.kernel.tenancy import tenant
from schema.registries.models import Registry
from schema.registries.rules import GLOB
from schema.scans.models import Scan
from schema.vulnerabilities.models import OPEN_STATUSES, FlawText, ScanFinding, TriageStatus, Vulnerability
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.severity import severity_rank

UNASSIGNED = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class VulnerabilityFilter:
    """None, and nothing in a list: that is not asked for."""

    severities: Sequence[Severity] | None = None
    statuses: Sequence[TriageStatus] | None = None
    scanner: str | None = None  # a provider that reported it itself
    image: str | None = None  # an image's id or its name
    registry: str | None = None  # a registry's id or its host
    tag: str | None = None  # a glob: the latest scan of a tag like that sees it
    package: str | None = None
    cve_id: str | None = None
    search: str | None = None
    fixable: bool | None = None
    kev: bool | None = None
    epss_min: float | None = None  # 0.0-1.0
    epss_max: float | None = None
    assignee: str | None = None  # a user's id; UNASSIGNED: nobody
    overdue: bool | None = None
    excepted: bool | None = None
    present: bool | None = None
    new_since: datetime | None = None

    @property
    def is_empty(self) -> bool:
        return all(getattr(self, field.name) in (None, [], "") for field in fields(self))

    def values(self) -> dict[str, Any]:
        """As FILTERS take them. BAD_REQUEST for what is no value."""
        for name, value in (("epssMin", self.epss_min), ("epssMax", self.epss_max)):
            if value is not None and not 0 <= value <= 1:
                message = f"{name} must be between 0 and 1"
                raise bad_request(message)
        if self.tag is not None and not GLOB.fullmatch(self.tag):
            message = "tag must be a glob of tags: letters, digits, _ . - and * ? [ ]"
            raise bad_request(message)
        has_epss = self.epss_min is not None or self.epss_max is not None
        return {
            "severity_ranks": [severity_rank(severity) for severity in self.severities or ()],
            "statuses": self.statuses,
            # A provider's name in a JSON list of names: quoted, so that `osv` does not find `osv-scanner`.
            "scanner": pattern(f'"{self.scanner}"') if self.scanner else None,
            "image": self.image or None,
            "registry": self.registry or None,
            "tag": self.tag,
            "package": self.package or None,
            "cve_id": self.cve_id or None,
            "search": pattern(self.search),
            "fixable": self.fixable,
            "kev": self.kev or None,
            "not_kev": True if self.kev is False else None,
            "epss": (self.epss_min or 0.0) if has_epss else None,
            "epss_max": (1.0 if self.epss_max is None else self.epss_max) if has_epss else None,
            "assignee": self.assignee if self.assignee and self.assignee != UNASSIGNED else None,
            "unassigned": True if self.assignee == UNASSIGNED else None,
            "overdue": self.overdue,
            "excepted": self.excepted,
            "present": self.present,
            "new_since": self.new_since,
        }


IS_OVERDUE = case(
    (
        and_(
            col(Vulnerability.breached_at).is_not(None),
            col(Vulnerability.exception_id).is_(None),
            col(Vulnerability.status).in_(OPEN_STATUSES),
        ),
        true(),
    ),
    else_=false(),
)
IS_EXCEPTED = col(Vulnerability.exception_id).is_not(None)


def says(name: str) -> ColumnElement[bool]:
    """Whether a vulnerability's own words contain a parameter."""
    columns = (col(Vulnerability.cve_id), col(Vulnerability.package_name), col(Vulnerability.title))
    return or_(*(contains(column, name) for column in columns))


def _text_says(name: str) -> ColumnElement[bool]:
    columns = (col(FlawText.cve_id), col(FlawText.package_name), col(FlawText.title))
    return and_(tenant(FlawText, parameter(ORGANIZATION)), or_(*(contains(column, name) for column in columns)))


def _images(condition: ColumnElement[bool]) -> Select[str]:
    return select(col(Image.id)).where(tenant(Image, parameter(ORGANIZATION)), condition)


def _of_registry() -> ColumnElement[bool]:
    own = (tenant(Registry, parameter(ORGANIZATION)), col(Registry.id) == parameter("registry", String))
    host = func.coalesce(select(col(Registry.host)).where(*own).scalar_subquery(), parameter("registry", String))
    # Compared rather than matched: a host may hold what LIKE takes for a wildcard.
    return or_(
        col(Image.registry_id) == parameter("registry", String),
        func.substr(col(Image.name), 1, func.length(host) + 1) == host + "/",
    )


def _seen_in_tag() -> ColumnElement[bool]:
    sees = (
        select(col(ScanFinding.vulnerability_id))
        .join_from(Tag, Scan, col(Scan.id) == col(Tag.last_scan_id))
        .join(ScanFinding, col(ScanFinding.scan_id) == func.coalesce(col(Scan.findings_of), col(Scan.id)))
        .where(
            tenant(Tag, parameter(ORGANIZATION)),
            tenant(Scan, parameter(ORGANIZATION)),
            tenant(ScanFinding, parameter(ORGANIZATION)),
            matches_glob(col(Tag.name), "tag"),
        )
    )
    return col(Vulnerability.id).in_(sees)


def _cves(condition: ColumnElement[bool]) -> Select[str]:
    return select(col(Cve.id)).where(condition)


_EPSS = and_(col(Cve.epss) >= parameter("epss", Float), col(Cve.epss) <= parameter("epss_max", Float))
_IS_KEV = col(Cve.kev).is_(True)

# In a fixed order, so that equal filters make equal statements.
FILTERS: Mapping[str, ColumnElement[bool]] = {
    # The rank says the same as the severity, and is in the index of the default order.
    "severity_ranks": col(Vulnerability.severity_key).in_(any_of("severity_ranks")),
    "statuses": col(Vulnerability.status).in_(any_of("statuses")),
    "scanner": contains(cast(col(Vulnerability.sources), String), "scanner"),
    "image": or_(
        col(Vulnerability.image_id) == parameter("image"),
        col(Vulnerability.image_id).in_(_images(col(Image.name) == parameter("image"))),
    ),
    "registry": col(Vulnerability.image_id).in_(_images(_of_registry())),
    "tag": _seen_in_tag(),
    "package": col(Vulnerability.package_name) == parameter("package"),
    "cve_id": col(Vulnerability.cve_id) == parameter("cve_id"),
    "search": or_(says("search"), col(Vulnerability.image_id).in_(_images(contains(col(Image.name), "search")))),
    "fixable": col(Vulnerability.fixable) == parameter("fixable", Boolean),
    "kev": and_(parameter("kev", Boolean), col(Vulnerability.cve_id).in_(_cves(_IS_KEV))),
    "not_kev": and_(parameter("not_kev", Boolean), col(Vulnerability.cve_id).not_in(_cves(_IS_KEV))),
    "epss": col(Vulnerability.cve_id).in_(_cves(_EPSS)),
    "assignee": col(Vulnerability.assignee_id) == parameter("assignee"),
    "unassigned": and_(parameter("unassigned", Boolean), col(Vulnerability.assignee_id).is_(None)),
    "overdue": parameter("overdue", Boolean) == IS_OVERDUE,
    "excepted": parameter("excepted", Boolean) == IS_EXCEPTED,
    "present": col(Vulnerability.is_present) == parameter("present", Boolean),
    "new_since": col(Vulnerability.detected_at) >= parameter("new_since", UtcDateTime()),
}


def _only(column: Any) -> ColumnElement[Any]:
    """A column that no index is used for: the other side of the comparison has the one that is wanted."""
    return func.coalesce(column, "")


def _through_cves(condition: ColumnElement[bool]) -> Branch:
    return Branch(through=Cve, on=col(Vulnerability.cve_id) == _only(Cve.id), condition=condition)


# Ways to the few among a million: words and CVEs are few, and have an index that leads to their vulnerabilities.
BRANCHES: Mapping[str, Sequence[Branch]] = {
    "search": (
        Branch(
            through=FlawText,
            on=and_(
                col(Vulnerability.cve_id) == _only(FlawText.cve_id),
                col(Vulnerability.package_name) == col(FlawText.package_name),
            ),
            condition=_text_says("search"),
        ),
        Branch(
            through=Image,
            on=col(Vulnerability.image_id) == _only(Image.id),
            condition=and_(
                tenant(Image, parameter(ORGANIZATION)),
                contains(col(Image.name), "search"),
                # What the words have led to is not found twice.
                ~select(col(FlawText.cve_id))
                .where(
                    col(FlawText.cve_id) == col(Vulnerability.cve_id),
                    col(FlawText.package_name) == col(Vulnerability.package_name),
                    _text_says("search"),
                )
                .exists(),
            ),
        ),
    ),
    "kev": (_through_cves(and_(parameter("kev", Boolean), _IS_KEV)),),
    "epss": (_through_cves(_EPSS),),
}
