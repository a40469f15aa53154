"""Root fields of the schema: each declares who may call it and what it costs, or the process does not start.

The order of checks is the contract's: authentication, rate limit, permission, validation, then the resolver. A mutation runs
in one transaction that is committed when its resolver returns.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import strawberry
from strawberry.extensions.field_extension import AsyncExtensionResolver, FieldExtension
from strawberry.types.field import StrawberryField

from schema.kernel.context import Info, RequestContext
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.ports import RateBudget
from schema.kernel.principal import Role, holds
from schema.kernel.validation import check_arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a root field demands. `permission` None means any authenticated caller; `public` means anybody."""

    permission: str | None
    budget: RateBudget | None = None
    public: bool = False
    own_transaction: bool = False  # the resolver opens it, when it is ready to write

    def is_open_to(self, role: Role) -> bool:
        """A sensor is let in where its own permission is asked for, and where anybody is."""
        if self.permission is None:
            return self.public or role is not Role.SENSOR
        return holds(role, self.permission)

    async def admit(self, context: RequestContext) -> None:
        """Raises UNAUTHORIZED, RATE_LIMITED or FORBIDDEN, in that order."""
        principal = None if self.public else context.principal
        if self.budget is not None:
            # A public operation is where credentials are guessed: a second one at hand must not buy more guesses.
            shared = principal.organization_id if principal is not None and self.budget.shared else None
            await context.charge(self.budget, bucket=context.address_bucket if self.public else shared)
        if principal is None:
            return
        if self.permission is not None:
            principal.require(self.permission)
        elif not self.is_open_to(principal.role):
            raise HarborGuardError(ErrorCode.FORBIDDEN, "A sensor's key speaks the sensor protocol and nothing else")


class Guard(FieldExtension):
    """Carries a root field's policy and enforces it."""

    def __init__(self, policy: Policy, *, writes: bool) -> None:
        self.policy = policy
        self._writes = writes

    async def resolve_async(self, next_: AsyncExtensionResolver, source: Any, info: Any, **kwargs: Any) -> Any:
        context = cast("RequestContext", info.context)
        if context.admitted:
            context.admitted = False  # holds for the one operation the adapter vouched for
        else:
            await self.policy.admit(context)
        check_arguments(kwargs)
        if not self._writes:
            result = next_(source, info, **kwargs)
            return await result if inspect.isawaitable(result) else result
        async with context.write():
            return await next_(source, info, **kwargs)


def query_field(permission: str | None, *, description: str, public: bool = False) -> Callable[..., Any]:
    """A field of Query: `@query_field("scans:view", description="…")`."""
    guard = Guard(Policy(permission=permission, public=public), writes=False)
    return cast("Callable[..., Any]", strawberry.field(description=description, extensions=[guard]))


def mutation_field(
    permission: str | None, *, description: str, budget: RateBudget | None = None, public: bool = False
) -> Callable[..., Any]:
    """A field of Mutation, in a transaction of its own."""
    guard = Guard(Policy(permission=permission, budget=budget, public=public), writes=True)
    return cast("Callable[..., Any]", strawberry.mutation(description=description, extensions=[guard]))


def received_field(
    permission: str | None, *, description: str, budget: RateBudget | None = None, public: bool = False
) -> Callable[..., Any]:
    """A mutation that opens its own, short transaction: it first receives a body, which may take minutes, or it has to
    keep a record although it refuses.
    """
    policy = Policy(permission=permission, budget=budget, public=public, own_transaction=True)
    guard = Guard(policy, writes=False)
    return cast("Callable[..., Any]", strawberry.mutation(description=description, extensions=[guard]))


def subscription_field(permission: str, *, description: str) -> Callable[..., Any]:
    """A field of Subscription: checked when the subscription starts; a stream re-checks its caller while it runs."""
    guard = Guard(Policy(permission=permission), writes=False)
    return cast("Callable[..., Any]", strawberry.subscription(description=description, extensions=[guard]))


def policy_of(field: StrawberryField) -> Policy:
    """The declared policy of a root field. Raises LookupError for a field without one: nothing is open by omission."""
    for extension in field.extensions:
        if isinstance(extension, Guard):
            return extension.policy
    msg = f"root field {field.python_name} declares no policy; use query_field, mutation_field or subscription_field"
    raise LookupError(msg)


__all__ = [
    "Guard",
    "Info",
    "Policy",
    "mutation_field",
    "policy_of",
    "query_field",
    "received_field",
    "subscription_field",
]
