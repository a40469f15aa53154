"""A webhook from the door to the catalogue: proven, read, kept once, then acted on in one transaction."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from schema.images import cataloguing
from schema.images.cataloguing import SeenTag
from schema.images.reference import ImageReference
from schema.images.repository import count_tags, file_image, file_tag, hold_image
from schema.kernel.context import RequestContext
from schema.kernel.errors import ErrorCode, HarborGuardError, bad_request
from schema.kernel.ports import KeyProvider, RateBudget
from schema.kernel.principal import system_principal
from schema.kernel.scalars import ByteStream
from schema.kernel.secrets import seal, seal_context, unseal
from schema.registries.events import repository
from schema.registries.events.proof import SLUGS, is_proven, slug_of
from schema.registries.events.pushes import Push, Told, pushes_of, read_pushes
from schema.registries.models import Registry, RegistryProvider, Schedule
from schema.registries.rules import eligible
from schema.scans.unasked import scan_tags

MAX_BYTES = 256 * 1024
DELIVERY_BUDGET = RateBudget(family="webhooks", requests=120, seconds=60)  # of each registry
# Providers deliver again for hours. Events are kept much longer, so that nothing in the window can come twice.
PAST, FUTURE = timedelta(hours=24), timedelta(minutes=10)
# How long the same body is the same push, where the provider sends neither id nor time: pushing a tag again sends it again.
SAME = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    outcome: str
    duplicate: bool


def new_secret() -> str:
    """256 bits, of characters that a header and a query string carry as they are."""
    return secrets.token_urlsafe(32)


async def seal_secret(keys: KeyProvider, secret: str, *, organization_id: str, registry_id: str) -> dict[str, str]:
    return await seal(keys, secret, context=_place(organization_id, registry_id))


def _place(organization_id: str, registry_id: str) -> bytes:
    return seal_context(
        organization_id=organization_id, table="registries", column="sealed_webhook_secret", row_id=registry_id
    )


async def receive(
    context: RequestContext, *, slug: str, registry_id: str, token: str | None, stream: ByteStream
) -> Receipt:
    """Raises PAYLOAD_TOO_LARGE, UNAUTHORIZED, RATE_LIMITED or BAD_REQUEST; then nothing has changed."""
    body = await _read(stream)
    registry = await _proven(context, slug=slug, registry_id=registry_id, token=token, stream=stream, body=body)
    await context.charge(DELIVERY_BUDGET, bucket=f"registry:{registry.id}")
    try:
        told = read_pushes(registry.provider, body)
    except ValueError as error:
        raise bad_request(f"The body is no event of {slug}: {error}") from None
    now = context.now()
    fingerprint = _fingerprint(told, body, now)
    async with context.write() as session:
        return await _act(session, registry, told, fingerprint, now=now)


async def _read(stream: ByteStream) -> bytes:
    parts, size = [], 0
    async for chunk in stream.chunks:
        size += len(chunk)
        if size > MAX_BYTES:
            raise HarborGuardError(ErrorCode.PAYLOAD_TOO_LARGE, f"The body is larger than {MAX_BYTES} bytes")
        parts.append(chunk)
    return b"".join(parts)


async def _proven(
    context: RequestContext, *, slug: str, registry_id: str, token: str | None, stream: ByteStream, body: bytes
) -> Registry:
    """One answer after the same work, whatever is wrong: no such registry or provider, no secret, another one."""
    keys = context.services.keys
    async with context.read() as session:
        registry = await repository.find_addressed(session, registry_id)
    provider = SLUGS.get(slug, RegistryProvider.DOCKER_REGISTRY)
    if registry is None or registry.sealed_webhook_secret is None or slug != slug_of(registry.provider):
        registry = None
        # What nobody knows, sealed and opened again: a little more work than for one that exists, never less.
        place = _place("", registry_id)
        secret = await unseal(keys, await seal(keys, new_secret(), context=place), context=place)
    else:
        place = _place(registry.organization_id, registry.id)
        try:
            secret = await unseal(keys, registry.sealed_webhook_secret or {}, context=place)
        except ValueError:  # sealed under a master key that is gone: as good as none
            registry, secret = None, new_secret()
    proven = is_proven(provider, secret, headers=stream.headers, token=token, body=body)
    if registry is None or not proven:
        raise HarborGuardError(ErrorCode.UNAUTHORIZED, "No registry with that secret")
    return registry


def _fingerprint(told: Told, body: bytes, now: datetime) -> str:
    if told.event_id is not None:
        material = b"id\n" + told.event_id.encode("utf-8", "surrogatepass")
    else:
        material = b"body\n" + body
        if told.moment is None:
            material = b"%d\n" % (now.timestamp() // SAME.total_seconds()) + material
    return hashlib.sha256(material).hexdigest()


async def _act(session: AsyncSession, registry: Registry, told: Told, fingerprint: str, *, now: datetime) -> Receipt:
    references: dict[ImageReference, Push] = {}
    done: Counter[str] = Counter()
    for push in pushes_of(told):
        reference = _reference(registry, push)
        if reference is None:
            done["not an image of this registry"] += 1
        elif not push.deleted and not eligible(push.tag or "", registry.tag_include, registry.tag_exclude):
            done["left out by the tag filters"] += 1
        else:
            references[reference] = push
    event_id = await repository.keep_event(session, registry, fingerprint, [str(each) for each in references], now=now)
    if event_id is None:
        return Receipt(outcome="Received before", duplicate=True)
    if told.moment is not None and not now - PAST <= told.moment <= now + FUTURE:
        outcome = "Nothing done: it happened too long ago, or has not happened yet"
    else:
        # In one order for everybody, so that two deliveries never wait for each other.
        for reference in sorted(references, key=str):
            done += await _file(session, registry, reference, deleted=references[reference].deleted, now=now)
        outcome = _in_words(done)
    await repository.tell_outcome(session, registry.organization_id, event_id, outcome)
    return Receipt(outcome=outcome, duplicate=False)


def _reference(registry: Registry, push: Push) -> ImageReference | None:
    """The push as an image of the registry, None when it is none: another host, or no reference at all."""
    if push.host is not None and push.host.lower() != registry.host:
        return None
    repository = push.repository
    key, _, rest = repository.partition("/")
    if registry.provider is RegistryProvider.JFROG and rest and registry.host.startswith(f"{key}."):
        repository = rest  # a repository with a host name of its own
    tag = f":{push.tag}" if push.tag else ""
    digest = f"@{push.digest}" if push.digest else ""
    try:
        reference = ImageReference.parse(f"{registry.host}/{repository}{tag}{digest}")
    except HarborGuardError:
        return None
    told = (reference.registry, reference.tag, reference.digest)
    return reference if told == (registry.host, push.tag, push.digest) else None


async def _file(
    session: AsyncSession, registry: Registry, reference: ImageReference, *, deleted: bool, now: datetime
) -> Counter[str]:
    if deleted:
        return await _miss(session, registry, reference, now=now)
    assert reference.tag is not None, "a push has a tag"
    organization_id = registry.organization_id
    image_id = await file_image(session, organization_id, reference.name, registry_id=registry.id, now=now)
    await hold_image(session, organization_id, image_id)
    await cataloguing.find_again(session, organization_id, image_id, registry_id=registry.id)
    known = await cataloguing.load_known(session, organization_id, image_id, [reference.tag])
    seen = [] if reference.digest is None else [SeenTag(name=reference.tag, digest=reference.digest)]
    changes = cataloguing.compare(known, seen, [reference.tag])
    fresh = await cataloguing.apply(session, organization_id, image_id, changes, now=now)
    if reference.digest is None:
        # What it points to now is not told, so it is taken for something else.
        fresh = [await file_tag(session, organization_id, image_id, reference.tag, now=now)]
    await count_tags(session, organization_id, image_id)
    done = Counter({"filed": 1} if fresh or changes else {"known already": 1})
    if registry.schedule is Schedule.ON_PUSH and fresh:
        scans = await scan_tags(session, organization_id, fresh, system_principal(organization_id, "push"), now=now)
        done["queued for a scan"] += len(scans)
    return done


async def _miss(session: AsyncSession, registry: Registry, reference: ImageReference, *, now: datetime) -> Counter[str]:
    image_id, tags = await repository.find_deleted(
        session,
        registry.organization_id,
        reference.name,
        registry_id=registry.id,
        tag=reference.tag,
        digest=reference.digest,
    )
    if image_id is None:
        return Counter({"known as absent": 1})
    await hold_image(session, registry.organization_id, image_id)
    await cataloguing.miss_tags(session, registry.organization_id, tags, now=now)
    await count_tags(session, registry.organization_id, image_id)
    return Counter({"marked as absent": len(tags)})


def _in_words(done: Counter[str]) -> str:
    parts: Iterable[str] = (f"{number} {what}" for what, number in sorted(done.items()) if number)
    return "; ".join(parts) or "No image in it"
