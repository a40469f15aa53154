"""What a caller says about a registry."""

from __future__ import annotations

import strawberry

from schema.kernel.validation import Constraint, constrained
from schema.organizations.inputs import NAME
from schema.registries.enums import RegistryProvider, ScanMethod, Schedule
from schema.scans.enums import Engine

URL = Constraint(min_length=1, max_length=500)
USERNAME = Constraint(min_length=1, max_length=300)
PASSWORD = Constraint(min_length=1, max_length=20_000)  # the key file of a Google service account is 2,400
SCANNERS = Constraint(max_length=12)
GLOBS = Constraint(max_length=1000)
CRON = Constraint(min_length=1, max_length=200)
TIME_ZONE = Constraint(min_length=1, max_length=60)
# They become parts of addresses, so nothing that could lead to another host.
PATH = Constraint(pattern=r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,198}[A-Za-z0-9])?", hint="must be a name or a path of names")
REGION = Constraint(pattern=r"[a-z0-9][a-z0-9-]{0,39}", hint="must look like eu-central-1")

_URL = "Address, like `https://ghcr.io`, `registry.example.com:5000`."
_PROVIDER = "Who runs it; default: told by its name, else CUSTOM."
_USERNAME = "User name, or what the provider takes for one: an access key id, `_json_key`, `acme+scanner`."
_PASSWORD = "Password, token, secret access key or key file. It cannot be read again."  # noqa: S105 -- a description
_INSECURE = "Use it without TLS. Default false."
_METHOD = "Who fetches and scans its images. Default cloud."
_SCANNERS = "Engines of scans nobody asks for one by one; empty: all."
_INCLUDE = "Globs of the tags that count, by commas, like `v*,latest`. Default *."
_EXCLUDE = "Globs of those that do not, by commas, like `*-dev`; none by default."
_SCHEDULE = "When it is synchronized and its tags are scanned by themselves. Default manual."
_CRON = (
    "The times of the schedule cron, like `30 2 * * 1-5`: minute, hour, day of month, month, day of week; or `@daily`."
)
_ZONE = "The zone of the schedule's times, like `Europe/Berlin`. Default UTC."


@strawberry.input(description="What only a registry's provider knows.")
class RegistryOptionsInput:
    namespace: str | None = constrained(
        PATH, description="Where its images are, like `acme`, where not all are meant.", default=None
    )
    project: str | None = constrained(PATH, description="The provider's project, like `acme-prod`.", default=None)
    region: str | None = constrained(REGION, description="The provider's region, like `eu-central-1`.", default=None)


@strawberry.input(description="A new registry.")
class CreateRegistryInput:
    name: str = constrained(NAME, description="Its name here, like `Acme on GHCR`.")
    url: str = constrained(URL, description=_URL)
    provider: RegistryProvider | None = strawberry.field(default=None, description=_PROVIDER)
    username: str | None = constrained(USERNAME, description=_USERNAME, default=None)
    password: str | None = constrained(PASSWORD, description=_PASSWORD, default=None)
    insecure: bool | None = strawberry.field(default=None, description=_INSECURE)
    options: RegistryOptionsInput | None = strawberry.field(default=None, description="What only its provider knows.")
    scan_method: ScanMethod | None = strawberry.field(default=None, description=_METHOD)
    scanners: list[Engine] | None = constrained(SCANNERS, description=_SCANNERS, default=None)
    tag_include: str | None = constrained(GLOBS, description=_INCLUDE, default=None)
    tag_exclude: str | None = constrained(GLOBS, description=_EXCLUDE, default=None)
    schedule: Schedule | None = strawberry.field(default=None, description=_SCHEDULE)
    cron: str | None = constrained(CRON, description=_CRON, default=None)
    time_zone: str | None = constrained(TIME_ZONE, description=_ZONE, default=None)


@strawberry.input(description="What is to change about a registry. What is left out stays; null means the default.")
class UpdateRegistryInput:
    name: str | None = constrained(
        NAME, description="Its name here, like `Acme on GHCR`; not null.", default=strawberry.UNSET
    )
    url: str | None = constrained(URL, description=f"{_URL} Not null.", default=strawberry.UNSET)
    provider: RegistryProvider | None = strawberry.field(default=strawberry.UNSET, description=_PROVIDER)
    username: str | None = constrained(
        USERNAME,
        description=f"{_USERNAME} Sent together with the password; both null: no account.",
        default=strawberry.UNSET,
    )
    password: str | None = constrained(PASSWORD, description=_PASSWORD, default=strawberry.UNSET)
    insecure: bool | None = strawberry.field(default=strawberry.UNSET, description=_INSECURE)
    options: RegistryOptionsInput | None = strawberry.field(
        default=strawberry.UNSET, description="What only its provider knows; all of it."
    )
    scan_method: ScanMethod | None = strawberry.field(default=strawberry.UNSET, description=_METHOD)
    scanners: list[Engine] | None = constrained(SCANNERS, description=_SCANNERS, default=strawberry.UNSET)
    tag_include: str | None = constrained(GLOBS, description=_INCLUDE, default=strawberry.UNSET)
    tag_exclude: str | None = constrained(GLOBS, description=_EXCLUDE, default=strawberry.UNSET)
    schedule: Schedule | None = strawberry.field(default=strawberry.UNSET, description=_SCHEDULE)
    cron: str | None = constrained(CRON, description=_CRON, default=strawberry.UNSET)
    time_zone: str | None = constrained(TIME_ZONE, description=_ZONE, default=strawberry.UNSET)


@strawberry.input(description="Whose schedules to run now.")
class ScheduleScansInput:
    registry_ids: list[strawberry.ID] | None = constrained(
        Constraint(min_length=1, max_length=200),
        description="`reg-…`, with or without a schedule; by default all registries that have one.",
        default=None,
    )


@strawberry.input(description="What to try: a registry that is saved, or an address and an account that are not.")
class TestConnectionInput:
    registry_id: strawberry.ID | None = strawberry.field(
        default=None, description="A saved registry, with its credentials; nothing else is given then."
    )
    url: str | None = constrained(URL, description=_URL, default=None)
    provider: RegistryProvider | None = strawberry.field(default=None, description=_PROVIDER)
    username: str | None = constrained(USERNAME, description=_USERNAME, default=None)
    password: str | None = constrained(PASSWORD, description=_PASSWORD, default=None)
    insecure: bool | None = strawberry.field(default=None, description=_INSECURE)
