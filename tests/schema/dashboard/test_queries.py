from __future__ import annotations

from bench.findings import furnish
from tests.app.site import Site, Tenant, site, tenant

__all__ = ["site", "tenant"]

DASHBOARD = """
{ dashboard { open { critical high medium low unknown total } fixable statuses { status count } images grades { grade count }
  queuedScans runningScans riskiestImages { name riskScore vulnerabilities { total } } }
  all: vulnerabilities(limit: 1) { meta { total totalIsExact } }
  open: vulnerabilities(limit: 1, status: [OPEN, ACKNOWLEDGED, IN_PROGRESS], severity: [CRITICAL]) { meta { total } }
  found: vulnerabilities(limit: 1, search: "library-") { meta { total totalIsExact } } }
"""


async def test_the_dashboard_agrees_with_the_lists(site: Site, tenant: Tenant) -> None:
    await furnish(site.database, tenant.organization_id, 700)
    async with site.client(headers=tenant.headers()) as client:
        data = (await client.post("/graphql", json={"query": DASHBOARD})).json()["data"]
    dashboard = data["dashboard"]
    assert sum(each["count"] for each in dashboard["statuses"]) == 700
    assert data["all"]["meta"] == data["found"]["meta"] == {"total": 700, "totalIsExact": True}
    assert dashboard["open"]["total"] == 700, "nothing is fixed yet"
    assert dashboard["open"]["critical"] == data["open"]["meta"]["total"] > 0
    assert 0 < dashboard["fixable"] < 700
    assert dashboard["images"] == 2
    assert dashboard["grades"][-1] == {"grade": None, "count": 2}
    assert dashboard["riskiestImages"] == [], "no scan has given a score"
    assert (dashboard["queuedScans"], dashboard["runningScans"]) == (0, 0)
