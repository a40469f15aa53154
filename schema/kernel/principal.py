"""Who is calling, and what they may do.

Permissions decide, roles carry them: the matrix below is the documented one and the only place a role gets a right.
A permission is written `<domain>:<action>`. The action `admin` holds every action of its domain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache

from schema.kernel.errors import ErrorCode, HarborGuardError


class Role(StrEnum):
    """Organization roles, and `sensor` for a key that speaks the sensor protocol and nothing else."""

    OWNER = "owner"
    ADMIN = "admin"
    DEVELOPER = "developer"
    CI = "ci"
    AUDITOR = "auditor"
    VIEWER = "viewer"


# Documented levels: a role can only be granted by a role of at least the same level.
ROLE_LEVEL = {
    Role.OWNER: 100,
    Role.ADMIN: 80,
    Role.DEVELOPER: 60,
    Role.CI: 50,
    Role.AUDITOR: 40,
    Role.VIEWER: 20,
}

# domain -> role -> actions. A role that is missing in a domain holds nothing there.
ROLE_MATRIX: dict[str, dict[Role, tuple[str, ...]]] = {
    "scans": {
        Role.OWNER: ("admin",),
        Role.ADMIN: ("admin",),
        Role.DEVELOPER: ("create", "view", "edit"),
        Role.CI: ("create", "view"),
        Role.AUDITOR: ("view",),
        Role.VIEWER: ("view",),
    },
    "images": {
        Role.OWNER: ("admin",),
        Role.ADMIN: ("admin",),
        Role.DEVELOPER: ("view", "edit"),
        Role.CI: ("view",),
        Role.AUDITOR: ("view",),
        Role.VIEWER: ("view",),
    },
    "vulnerabilities": {
        Role.OWNER: ("admin",),
        Role.ADMIN: ("admin",),
        Role.DEVELOPER: ("view", "triage"),
        Role.CI: ("view",),
        Role.AUDITOR: ("view",),
        Role.VIEWER: ("view",),
    },
    "exceptions": {
        Role.OWNER: ("admin",),
        Role.ADMIN: ("admin",),
        Role.DEVELOPER: ("create", "view", "edit", "revoke"),
        Role.CI: ("view",),
        Role.AUDITOR: ("view",),
        Role.VIEWER: ("view",),
    },
    "registries": {
        Role.OWNER: ("admin",),
        Role.ADMIN: ("admin",),
        Role.DEVELOPER: ("view", "test"),
        Role.CI: ("view",),
        Role.AUDITOR: ("view",),
        Role.VIEWER: ("view",),
    },
    "reports": {
        Role.OWNER: ("admin",),
        Role.ADMIN: ("admin",),
        Role.DEVELOPER: ("create", "view"),
        Role.CI: ("view",),
        Role.AUDITOR: ("create", "view", "export"),
        Role.VIEWER: ("view",),
    },
    "audit": {
        Role.OWNER: ("view", "export"),
        Role.ADMIN: ("view", "export"),
        Role.DEVELOPER: ("view-own",),
        Role.AUDITOR: ("view", "export"),
    },
    "channels": {
        Role.OWNER: ("admin",),
        Role.ADMIN: ("admin",),
        Role.DEVELOPER: ("view",),
        Role.AUDITOR: ("view",),
        Role.VIEWER: ("view",),
    },
    "members": {
        Role.OWNER: ("admin",),
        Role.ADMIN: ("admin",),
        Role.DEVELOPER: ("view",),
        Role.AUDITOR: ("view",),
        Role.VIEWER: ("view",),
    },
    "sso": {
        Role.OWNER: ("admin",),
        Role.ADMIN: ("admin",),
        Role.AUDITOR: ("view",),
    },
    "api-keys": {
        Role.OWNER: ("admin",),
        Role.ADMIN: ("admin",),
    },
    "tokens": {
        Role.OWNER: ("self",),
        Role.ADMIN: ("self",),
        Role.DEVELOPER: ("self",),
        Role.AUDITOR: ("self",),
        Role.VIEWER: ("self",),
    },
    "billing": {
        Role.OWNER: ("admin",),
        Role.ADMIN: ("view",),
        Role.AUDITOR: ("view",),
    },
    "organization": {
        Role.OWNER: ("admin",),
    },
}


def holds(role: Role, permission: str) -> bool:
    """Whether the role carries the permission, by the matrix alone."""
    domain, _, action = permission.partition(":")
    actions = ROLE_MATRIX.get(domain, {}).get(role, ())
    return action in actions or "admin" in actions


# What `admin` stands for in a domain, beside the actions the matrix names there.
_ADMIN_ACTIONS = frozenset({"view", "create", "edit", "delete", "admin"})


@cache
def permissions_of(role: Role) -> tuple[str, ...]:
    """Every permission of the role, sorted, with `admin` spelled out: what a token of that role can be limited to."""
    found: set[str] = set()
    for domain, holders in ROLE_MATRIX.items():
        actions = set(holders.get(role, ()))
        if "admin" in actions:
            actions |= _ADMIN_ACTIONS.union(*holders.values())
        found |= {f"{domain}:{action}" for action in actions}
    return tuple(sorted(found))


@cache
def lowest_role(permission: str) -> Role | None:
    """The lowest role that holds the permission (`x-required-role`), None when no role does."""
    holders = [role for role in Role if holds(role, permission)]
    return min(holders, key=ROLE_LEVEL.__getitem__, default=None)


class ActorKind(StrEnum):
    """What kind of credential acts; part of audit rows, so append-only."""

    USER = "user"
    API_KEY = "api-key"
    TOKEN = "token"  # noqa: S105 -- a kind, not a secret
    OPERATOR = "operator"  # the command line on the server
    SYSTEM = "system"  # nobody: a schedule, a push that a registry told of


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The caller of one request: resolved once from exactly one credential, never changed afterwards."""

    organization_id: str
    role: Role
    actor_kind: ActorKind
    actor_id: str  # the user's id, or the API key's
    user_id: str | None  # None for an API key
    credential_id: str  # session, API key or token id: the rate limit's bucket
    permissions: frozenset[str] | None = field(default=None)  # a token's own subset; None means all of the role

    def can(self, permission: str) -> bool:
        domain = permission.partition(":")[0]
        allowed = self.permissions is None or not self.permissions.isdisjoint({permission, f"{domain}:admin"})
        return allowed and holds(self.role, permission)

    def require(self, permission: str) -> None:
        """Raises FORBIDDEN naming the permission, so that whoever reads it knows what to ask for."""
        if not self.can(permission):
            raise HarborGuardError(ErrorCode.FORBIDDEN, f"Your role {self.role} lacks the permission {permission}")


def system_principal(organization_id: str, name: str) -> Principal:
    """Whoever acts when nobody asked: "schedule", "push". May do what the organization may."""
    return Principal(
        organization_id=organization_id,
        role=Role.OWNER,
        actor_kind=ActorKind.SYSTEM,
        actor_id=name,
        user_id=None,
        credential_id=f"{ActorKind.SYSTEM}:{name}",
    )
