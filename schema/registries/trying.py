"""Trying a registry before, or after, it is saved."""

from __future__ import annotations

from schema.audit.repository import record
from schema.kernel.context import RequestContext
from schema.kernel.errors import Issue, invalid
from schema.kernel.ports import RegistryTarget
from schema.registries import repository
from schema.registries.accounts import account_issues
from schema.registries.addresses import read_address
from schema.registries.inputs import TestConnectionInput
from schema.registries.models import RegistryProvider, ScanMethod
from schema.registries.rules import detect
from schema.registries.types import ConnectionTest


async def try_registry(context: RequestContext, given: TestConnectionInput) -> ConnectionTest:
    """No transaction is held while the other side takes its time. VALIDATION_ERROR, NOT_FOUND."""
    if given.registry_id is not None:
        provider, target = await _saved(context, given, given.registry_id)
    else:
        provider, target = _named(given)
    result = await context.services.registry_probe.probe(target)
    async with context.write() as session:
        await record(
            session,
            organization_id=context.organization_id,
            actor=context.principal.actor_id,
            action="registry.tested",
            target=f"registry:{given.registry_id or target.host}",
            ip=context.client_ip,
            details={"host": target.host, "ok": result.ok},
            now=context.now(),
        )
    return ConnectionTest(
        ok=result.ok,
        message=result.message,
        latency_ms=result.latency_ms,
        provider=provider,
        authentication=result.authentication,
    )


async def _saved(
    context: RequestContext, given: TestConnectionInput, registry_id: str
) -> tuple[RegistryProvider, RegistryTarget]:
    """With the address and credentials that are stored: those go nowhere else."""
    others = {
        "url": given.url,
        "provider": given.provider,
        "username": given.username,
        "password": given.password,
        "insecure": given.insecure,
    }
    unwanted = [Issue(name, "must not be given with registryId") for name, value in others.items() if value is not None]
    if unwanted:
        raise invalid(*unwanted)
    async with context.read() as session:
        registry = await repository.get_registry(session, context.organization_id, registry_id)
        access = await repository.open_registry(session, context.organization_id, registry_id, context.services.keys)
    target = RegistryTarget(
        host=access.host,
        insecure=access.insecure,
        provider=registry.provider,
        username=access.username,
        password=access.password,
    )
    return registry.provider, target


def _named(given: TestConnectionInput) -> tuple[RegistryProvider, RegistryTarget]:
    if given.url is None:
        raise invalid(Issue("url", "Required, unless registryId names a saved registry"))
    address = read_address(given.url, insecure=bool(given.insecure))
    provider = given.provider or detect(address.host)
    issues = tuple(account_issues(provider, given.username, given.password, method=ScanMethod.CLOUD))
    if issues:
        raise invalid(*issues)
    target = RegistryTarget(
        host=address.host,
        insecure=bool(given.insecure),
        provider=provider,
        username=given.username,
        password=given.password,
    )
    return provider, target
