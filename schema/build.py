"""The schema, put together from the nouns. One per process."""

from __future__ import annotations

import strawberry
from strawberry.schema.config import StrawberryConfig
from strawberry.types.base import get_object_definition

from schema.advisories.queries import AdvisoriesQuery
from schema.attestations.mutations import AttestationsMutation
from schema.attestations.queries import AttestationsQuery
from schema.comparisons.queries import ComparisonsQuery
from schema.credentials.mutations import CredentialsMutation
from schema.credentials.queries import CredentialsQuery
from schema.cves.queries import CvesQuery
from schema.dashboard.queries import DashboardQuery
from schema.dependencies.queries import DependenciesQuery, DependenciesSubscription
from schema.documents.queries import DocumentsQuery
from schema.events.queries import EventsQuery
from schema.execution.executable import ExecutableSchema
from schema.images.mutations import ImagesMutation
from schema.images.queries import ImagesQuery
from schema.kernel.operations import policy_of
from schema.kernel.scalars import SCALARS
from schema.organizations.mutations import OrganizationsMutation
from schema.organizations.queries import OrganizationsQuery
from schema.posture.queries import PostureQuery
from schema.registries.events.mutations import RegistryEventsMutation
from schema.registries.events.queries import RegistryEventsQuery
from schema.registries.mutations import RegistriesMutation
from schema.registries.queries import RegistriesQuery
from schema.scans.batches.mutations import ScanBatchesMutation
from schema.scans.batches.queries import ScanBatchesQuery
from schema.scans.mutations import ScansMutation
from schema.scans.queries import ScansQuery
from schema.scans.subscriptions import ScansSubscription
from schema.sensors.mutations import SensorsMutation
from schema.sensors.queries import SensorsQuery
from schema.statements.mutations import StatementsMutation
from schema.statements.queries import StatementsQuery
from schema.triage.mutations import TriageMutation
from schema.triage.queries import TriageQuery
from schema.vulnerabilities.queries import VulnerabilitiesQuery
from schema.watch.mutations import WatchMutation
from schema.watch.queries import WatchQuery


@strawberry.type(description="Everything that can be read.")
class Query(
    ScansQuery,
    ScanBatchesQuery,
    ComparisonsQuery,
    DocumentsQuery,
    ImagesQuery,
    DependenciesQuery,
    RegistriesQuery,
    RegistryEventsQuery,
    VulnerabilitiesQuery,
    TriageQuery,
    AttestationsQuery,
    WatchQuery,
    CvesQuery,
    PostureQuery,
    EventsQuery,
    DashboardQuery,
    OrganizationsQuery,
    CredentialsQuery,
    AdvisoriesQuery,
    SensorsQuery,
    StatementsQuery,
):
    pass


@strawberry.type(description="Everything that can be changed. Each field is one transaction.")
class Mutation(
    ScansMutation,
    ScanBatchesMutation,
    ImagesMutation,
    RegistriesMutation,
    RegistryEventsMutation,
    TriageMutation,
    AttestationsMutation,
    WatchMutation,
    OrganizationsMutation,
    CredentialsMutation,
    SensorsMutation,
    StatementsMutation,
):
    pass


@strawberry.type(description="Live events, over graphql-transport-ws.")
class Subscription(ScansSubscription, DependenciesSubscription):
    pass


def build_schema() -> ExecutableSchema:
    """Raises LookupError for a root field that declares no policy."""
    schema = strawberry.Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        config=StrawberryConfig(scalar_map=SCALARS, auto_camel_case=True),
    )
    for root in (Query, Mutation, Subscription):
        for field in get_object_definition(root, strict=True).fields:
            policy_of(field)
    return ExecutableSchema(schema)
