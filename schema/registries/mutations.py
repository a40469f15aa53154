"""Adding, changing, removing, trying and synchronizing registries."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry

from schema.kernel.errors import conflict
from schema.kernel.operations import Info, mutation_field, received_field
from schema.kernel.ports import RateBudget
from schema.registries import repository, saving, trying
from schema.registries.inputs import CreateRegistryInput, ScheduleScansInput, TestConnectionInput, UpdateRegistryInput
from schema.registries.models import ScanMethod
from schema.registries.types import ConnectionTest, RegistrySync, SavedRegistry, ScheduledRun

# Whoever tries addresses makes this server knock at them.
TEST_BUDGET = RateBudget(family="registries.test", requests=20, seconds=60)


@strawberry.type
class RegistriesMutation:
    @mutation_field(
        "registries:create",
        description=(
            "Adds a registry and queues a first look at its catalogue; one of a sensor gets the sensor's key instead, this "
            "once. PLAN_LIMIT when the plan holds no more, CONFLICT when the name is taken."
        ),
    )
    async def create_registry(
        self, info: Info, input: Annotated[CreateRegistryInput, strawberry.argument(description="What to add.")]
    ) -> SavedRegistry:
        context = info.context
        async with context.write() as session:
            registry_id, key = await saving.add_registry(context, input)
            row = await repository.get_registry(session, context.organization_id, registry_id)
        return SavedRegistry.with_key(row, key)

    @mutation_field(
        "registries:edit",
        description=(
            "Changes what is given. Another address or account queues a look at the catalogue. CONFLICT when the name is "
            "taken."
        ),
    )
    async def update_registry(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="`reg-…`.")],
        input: Annotated[UpdateRegistryInput, strawberry.argument(description="What to change.")],
    ) -> SavedRegistry:
        context = info.context
        async with context.write() as session:
            key = await saving.change_registry(context, id, input)
            row = await repository.get_registry(session, context.organization_id, id)
        return SavedRegistry.with_key(row, key)

    @mutation_field(
        "registries:delete",
        description=(
            "Removes a registry. Images and scans that came from it stay; scans that wait for its sensors are cancelled, and "
            "API keys bound to it are revoked. Returns its id."
        ),
    )
    async def delete_registry(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`reg-…`.")]
    ) -> strawberry.ID:
        await saving.remove_registry(info.context, id)
        return id

    @mutation_field(
        "registries:admin",
        description=(
            "Queues a look at a registry's catalogue, or returns the one that is queued or runs already. CONFLICT for a "
            "registry of a sensor, which reports by itself."
        ),
    )
    async def sync_registry(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`reg-…`.")]
    ) -> RegistrySync:
        context = info.context
        async with context.write() as session:
            registry = await repository.load_registry(session, context.organization_id, id)
            if registry.scan_method is ScanMethod.SENSOR:
                raise conflict("A sensor looks at this registry; it reports what it finds by itself")
            sync_id = await saving.request_sync(context, session, id)
            return cast("RegistrySync", await repository.get_sync(session, context.organization_id, id, sync_id))

    @mutation_field(
        "registries:admin",
        description=(
            "Does now what the schedules of registries stand for: looks at their catalogues and scans the tags that are due. "
            "For a registry without a schedule, all its tags. NOT_FOUND when one of them is not there; then nothing is done."
        ),
    )
    async def schedule_scans(
        self, info: Info, input: Annotated[ScheduleScansInput, strawberry.argument(description="Which registries.")]
    ) -> list[ScheduledRun]:
        context = info.context
        async with context.write() as session:
            runs = await saving.run_schedules(context, session, input.registry_ids)
        return cast("list[ScheduledRun]", runs)

    @received_field(
        "registries:test",
        budget=TEST_BUDGET,
        description=(
            "Tries a registry: whether it answers and takes the credentials. It changes nothing. That no registry was found "
            "is said in the same words, after the same time, whatever is there instead."
        ),
    )
    async def test_registry_connection(
        self, info: Info, input: Annotated[TestConnectionInput, strawberry.argument(description="What to try.")]
    ) -> ConnectionTest:
        return await trying.try_registry(info.context, input)
