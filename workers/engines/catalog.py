"""The tools there are for the engines."""

from __future__ import annotations

from collections.abc import Mapping

from schema.scans.models import Engine
from workers.engines import dive, dockle, grype, osv, syft, trivy
from workers.engines.adapter import Adapter

ADAPTERS: Mapping[Engine, Adapter] = {
    module.ADAPTER.engine: module.ADAPTER for module in (trivy, grype, syft, dockle, osv, dive)
}
