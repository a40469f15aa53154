"""What each provider's webhook says, as one list of pushes. Pure: bytes in, pushes out.

A body comes from outside and may be anything: what does not have the provider's shape is refused with ValueError, what
tells of something else than an image is passed over. References are checked by whoever joins them to a registry's host.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from schema.registries.models import RegistryProvider

MAX_PUSHES = 100  # of one body


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A tag that was pushed, or deleted. Of a deletion the digest may be all that is known."""

    repository: str  # "acme/api", without the host
    tag: str | None = None
    digest: str | None = None
    deleted: bool = False
    host: str | None = None  # where the provider names it


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A body that was read. `event_id` is the provider's own name of it, `moment` when it says that it happened."""

    pushes: tuple[Push, ...] = ()
    event_id: str | None = None
    moment: datetime | None = None


def read_pushes(provider: RegistryProvider, body: bytes) -> Told:
    """Raises ValueError for a body that is not the provider's, or tells of more than MAX_PUSHES pushes."""
    value = orjson.loads(body)  # JSONDecodeError is a ValueError; of JSON that is too deep as well
    told = PARSERS[provider](_object(value))
    if len(told.pushes) > MAX_PUSHES:
        msg = f"it tells of more than {MAX_PUSHES} pushes"
        raise ValueError(msg)
    return told


def _distribution(body: Mapping[str, Any]) -> Told:
    """The notifications of the Distribution registry, which GitLab's registry sends as well."""
    events = [_object(event) for event in _list(body, "events")]
    ids, moments, pushes = [], [], []
    for event in events:
        ids.append(_text(event, "id"))
        moments.append(_time(event, "timestamp"))
        action, target = _text(event, "action"), _object(event.get("target"))
        # A push of a layer or of a manifest that nobody tagged has no tag.
        tag, digest = _optional(target, "tag"), _optional(target, "digest")
        if (action == "push" and tag) or (action == "delete" and (tag or digest)):
            repository = _text(target, "repository")
            pushes.append(Push(repository=repository, tag=tag, digest=digest, deleted=action == "delete"))
    latest = max((moment for moment in moments if moment is not None), default=None)
    return Told(pushes=tuple(pushes), event_id="\n".join(sorted(set(ids))) or None, moment=latest)


def _acr(body: Mapping[str, Any]) -> Told:
    event_id, moment, action = _text(body, "id"), _time(body, "timestamp"), _text(body, "action")
    if action not in {"push", "delete"}:  # "ping", and those of Helm charts
        return Told(event_id=event_id, moment=moment)
    target = _object(body.get("target"))
    tag, digest = _optional(target, "tag"), _optional(target, "digest")
    host = _optional(_object(body.get("request", {})), "host")
    push = Push(repository=_text(target, "repository"), tag=tag, digest=digest, deleted=action == "delete", host=host)
    return Told(pushes=_if_named(push), event_id=event_id, moment=moment)


def _harbor(body: Mapping[str, Any]) -> Told:
    """Harbor's own format, and the CloudEvents one."""
    if "specversion" in body:
        kinds = {"harbor.artifact.pushed": False, "harbor.artifact.deleted": True}
        event_id, moment, data = _text(body, "id"), _time(body, "time"), body.get("data")
    else:
        kinds = {"PUSH_ARTIFACT": False, "DELETE_ARTIFACT": True}
        event_id, moment, data = None, _unix(body, "occur_at"), body.get("event_data")
    kind = _text(body, "type")
    if kind not in kinds:
        return Told(event_id=event_id, moment=moment)
    data = _object(data)
    repository = _text(_object(data.get("repository")), "repo_full_name")
    pushes: list[Push] = []
    for each in _list(data, "resources"):
        resource = _object(each)
        tag, digest = _optional(resource, "tag"), _optional(resource, "digest")
        pushes += _if_named(Push(repository=repository, tag=tag, digest=digest, deleted=kinds[kind]))
    return Told(pushes=tuple(pushes), event_id=event_id, moment=moment)


def _quay(body: Mapping[str, Any]) -> Told:
    tags = body.get("updated_tags")
    if tags is None:  # another notification: a build, a scan
        return Told()
    repository = _text(body, "repository")
    names = [*tags] if isinstance(tags, Mapping) else _list(body, "updated_tags")  # older ones map tags to image ids
    return Told(pushes=tuple(Push(repository=repository, tag=_string(name)) for name in names))


def _docker_hub(body: Mapping[str, Any]) -> Told:
    pushed, repository = _object(body.get("push_data")), _object(body.get("repository"))
    push = Push(repository=_text(repository, "repo_name"), tag=_text(pushed, "tag"))
    return Told(pushes=(push,), moment=_unix(pushed, "pushed_at"))


def _ghcr(body: Mapping[str, Any]) -> Told:
    """GitHub's `package` event and the older `registry_package`, which have one shape."""
    given = body.get("package") or body.get("registry_package")
    if given is None:  # "ping", and whatever else the webhook is subscribed to
        return Told()
    package = _object(given)
    kind = (_optional(package, "package_type") or _optional(package, "ecosystem") or "").lower()
    if kind != "container" or _optional(body, "action") not in {"published", "updated"}:
        return Told()
    version = _object(package.get("package_version"))
    tag = _object(_object(version.get("container_metadata") or {}).get("tag") or {})
    times = [_time(place, name) for place in (package, version) for name in ("created_at", "updated_at")]
    moment = max((each for each in times if each is not None), default=None)
    name = _optional(tag, "name")
    if not name:
        return Told(moment=moment)
    # An owner may have capitals; the registry's names have none.
    repository = f"{_text(package, 'namespace')}/{_text(package, 'name')}".lower()
    return Told(pushes=(Push(repository=repository, tag=name, digest=_optional(tag, "digest")),), moment=moment)


def _ecr(body: Mapping[str, Any]) -> Told:
    """An event of EventBridge."""
    event_id, moment = _text(body, "id"), _time(body, "time")
    detail = _object(body.get("detail"))
    action = _optional(detail, "action-type")
    if (body.get("source"), body.get("detail-type")) != ("aws.ecr", "ECR Image Action"):
        return Told(event_id=event_id, moment=moment)
    if detail.get("result") != "SUCCESS" or action not in {"PUSH", "DELETE"}:
        return Told(event_id=event_id, moment=moment)
    push = Push(
        repository=_text(detail, "repository-name"),
        tag=_optional(detail, "image-tag"),
        digest=_optional(detail, "image-digest"),
        deleted=action == "DELETE",
    )
    return Told(pushes=_if_named(push), event_id=event_id, moment=moment)


def _gar(body: Mapping[str, Any]) -> Told:
    """A message of Pub/Sub with the notification of Artifact Registry in it."""
    message = _object(body.get("message"))
    event_id, moment = _text(message, "messageId"), _time(message, "publishTime")
    try:
        data = _object(orjson.loads(base64.b64decode(_text(message, "data"), validate=True)))
    except binascii.Error as error:
        raise ValueError("message.data is not base64") from error
    action = _text(data, "action")
    if action not in {"INSERT", "DELETE"}:
        return Told(event_id=event_id, moment=moment)
    name, _, digest = (_optional(data, "digest") or "").partition("@")
    tagged = _optional(data, "tag")
    tag = None
    if tagged:
        name, _, tag = tagged.rpartition(":")
    host, _, repository = name.partition("/")
    push = Push(repository=repository, tag=tag, digest=digest or None, deleted=action == "DELETE", host=host)
    return Told(pushes=_if_named(push), event_id=event_id, moment=moment)


def _jfrog(body: Mapping[str, Any]) -> Told:
    kinds = {"pushed": False, "deleted": True}
    kind = _text(body, "event_type")
    if body.get("domain") != "docker" or kind not in kinds:
        return Told()
    data = _object(body.get("data"))
    sha256 = _optional(data, "sha256")
    push = Push(
        repository=f"{_text(data, 'repo_key')}/{_text(data, 'image_name')}",
        tag=_optional(data, "tag"),
        digest=f"sha256:{sha256}" if sha256 else None,  # of the manifest's file, which is the manifest
        deleted=kinds[kind],
    )
    return Told(pushes=_if_named(push))


def _nexus(body: Mapping[str, Any]) -> Told:
    """The component event of a repository's webhook."""
    moment, component = _time(body, "timestamp"), body.get("component")
    kinds = {"CREATED": False, "UPDATED": False, "DELETED": True}
    kind = _text(body, "action")
    if component is None or kind not in kinds:
        return Told(moment=moment)
    component = _object(component)
    if component.get("format") != "docker":
        return Told(moment=moment)
    push = Push(repository=_text(component, "name"), tag=_text(component, "version"), deleted=kinds[kind])
    return Told(pushes=(push,), moment=moment)


PARSERS: Mapping[RegistryProvider, Callable[[Mapping[str, Any]], Told]] = {
    RegistryProvider.DOCKER_HUB: _docker_hub,
    RegistryProvider.GHCR: _ghcr,
    RegistryProvider.AWS_ECR: _ecr,
    RegistryProvider.AZURE_ACR: _acr,
    RegistryProvider.GOOGLE_GAR: _gar,
    RegistryProvider.GITLAB: _distribution,
    RegistryProvider.HARBOR: _harbor,
    RegistryProvider.JFROG: _jfrog,
    RegistryProvider.QUAY: _quay,
    RegistryProvider.NEXUS: _nexus,
    RegistryProvider.DOCKER_REGISTRY: _distribution,
    RegistryProvider.CUSTOM: _distribution,
}


def _if_named(push: Push) -> tuple[Push, ...]:
    """A push of something without a tag is the push of a part; a deletion may name a digest only."""
    return (push,) if push.tag or (push.deleted and push.digest) else ()


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("an object is missing")  # noqa: TRY004 -- about a document, not about a Python type
    return value


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is missing")  # noqa: TRY004 -- as above
    return value


def _list(place: Mapping[str, Any], name: str) -> list[Any]:
    value = place.get(name)
    if not isinstance(value, list):
        raise ValueError(f"{name} is not a list")  # noqa: TRY004 -- as above
    return value


def _text(place: Mapping[str, Any], name: str) -> str:
    value = _optional(place, name)
    if not value:
        raise ValueError(f"{name} is missing")
    return value


def _optional(place: Mapping[str, Any], name: str) -> str | None:
    value = place.get(name)
    return None if value is None else _string(value)


def _time(place: Mapping[str, Any], name: str) -> datetime | None:
    text = _optional(place, name)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:  # where the zone moves it out of the years 1 to 9999
        raise ValueError(f"{name} is no time") from error


def _unix(place: Mapping[str, Any], name: str) -> datetime | None:
    value = place.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is no time")  # noqa: TRY004 -- as above
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError) as error:
        raise ValueError(f"{name} is no time") from error


def pushes_of(told: Told) -> Iterator[Push]:
    """Each once: a body may tell the same thing twice."""
    return iter(dict.fromkeys(told.pushes))
