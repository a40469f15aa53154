"""Enums of identity in the schema. Types take them from here, so that each is registered before it is first used."""

from __future__ import annotations

import strawberry

from schema.kernel.principal import ActorKind, Role
from schema.organizations.models import Plan

strawberry.enum(Role, graphql_name_from="value", description="Roles of an organization; each carries permissions.")
strawberry.enum(ActorKind, description="What kind of credential acts. USER is a signed-in browser.")
strawberry.enum(Plan, description="What an organization has booked.")

__all__ = ["ActorKind", "Plan", "Role"]
