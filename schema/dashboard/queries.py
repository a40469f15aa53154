"""Reading the dashboard."""

from __future__ import annotations

from collections import Counter

import strawberry

from schema.dashboard import repository
from schema.dashboard.types import Dashboard, GradeCount, StatusCount
from schema.kernel.operations import Info, query_field
from schema.scans.models import ScanStatus
from schema.vulnerabilities.models import OPEN_STATUSES, TriageStatus
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.scores import Grade
from schema.vulnerabilities.types import SeverityCounts


@strawberry.type
class DashboardQuery:
    @query_field("vulnerabilities:view", description="The organization at a glance.")
    async def dashboard(self, info: Info) -> Dashboard:
        organization_id = info.context.organization_id
        async with info.context.read() as session:
            figures = await repository.figures(session, organization_id)
            riskiest = await repository.riskiest_images(session, organization_id)
        by_severity: Counter[Severity] = Counter()
        by_status: Counter[TriageStatus] = Counter()
        fixable = excepted = 0
        for group in figures.groups:
            by_status[group.status] += group.count
            excepted += group.count * group.excepted
            if group.status in OPEN_STATUSES and not group.excepted:
                by_severity[group.severity] += group.count
                fixable += group.count * group.fixable
        return Dashboard(
            open=SeverityCounts(
                **{severity.value.lower(): by_severity[severity] for severity in Severity},
                total=by_severity.total(),
            ),
            fixable=fixable,
            excepted=excepted,
            statuses=[StatusCount(status=status, count=by_status[status]) for status in TriageStatus],
            images=sum(figures.images.values()),
            grades=[GradeCount(grade=grade, count=figures.images.get(grade, 0)) for grade in (*Grade, None)],
            queued_scans=figures.scans.get(ScanStatus.QUEUED, 0),
            running_scans=figures.scans.get(ScanStatus.IN_PROGRESS, 0),
            riskiest_images=list(riskiest),
        )
