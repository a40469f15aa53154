"""T-03: who may do what, made from the code and compared with the table people read (roles.golden.txt)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from schema.kernel.operations import policy_of
from schema.kernel.principal import ROLE_MATRIX, Role, holds
from tests.app.site import Site
from tests.isolation.documents import document, id_places, required_values, root_fields
from tests.isolation.estate import SCHEMA, Estate, run

GOLDEN = Path(__file__).with_name("roles.golden.txt")
FIELDS = {name: (kind, field) for kind, name, field in root_fields(SCHEMA.graphql)}


def matrix() -> str:
    """One line an operation: its permission, and a mark for each role that holds it."""
    lines = [f"{'operation':<42}{'permission':<26}" + "".join(f"{role.value:<11}" for role in Role)]
    for name, (kind, field) in sorted(FIELDS.items()):
        policy = policy_of(field.extensions["strawberry-definition"])
        permission = "public" if policy.public else policy.permission or "authenticated"
        allowed = [policy.is_open_to(role) for role in Role]
        marks = "".join(f"{'yes' if yes else '-':<11}" for yes in allowed)
        lines.append(f"{kind + ' ' + name:<42}{permission:<26}{marks}".rstrip())
    return "\n".join(lines) + "\n"


def test_t03_the_role_matrix_is_the_documented_one() -> None:
    assert matrix() == GOLDEN.read_text(), "if the change is meant, write matrix() to roles.golden.txt and review it"


def test_t03_every_permission_in_use_is_in_the_matrix() -> None:
    for name, (_, field) in FIELDS.items():
        permission = policy_of(field.extensions["strawberry-definition"]).permission
        if permission is not None:
            domain = permission.partition(":")[0]
            assert domain in ROLE_MATRIX, name
            assert any(holds(role, permission) for role in Role), f"nobody may call {name}"


def test_t03_a_field_without_a_policy_stops_the_process() -> None:
    _, field = FIELDS["scans"]
    definition = field.extensions["strawberry-definition"]
    undeclared = type(definition)(python_name="open_by_omission", type_annotation=definition.type_annotation)
    with pytest.raises(LookupError, match="open_by_omission"):
        policy_of(undeclared)


@pytest.mark.parametrize("name", sorted(FIELDS))
async def test_t03_a_role_without_the_permission_is_forbidden(
    site: Site, estates: tuple[Estate, Estate], name: str
) -> None:
    """Each operation really refuses each role that the matrix refuses."""
    owner, _ = estates
    kind, field = FIELDS[name]
    permission = policy_of(field.extensions["strawberry-definition"]).permission
    refused = [role for role in Role if permission is not None and not holds(role, permission)]
    if kind == "subscription" or {"archive", "report"} & field.args.keys():
        return  # the same guard; their values cannot be sent in a plain execution
    given = required_values(field)
    for place in id_places(field):
        if place.field is None:
            given[place.argument] = owner.ids[place.prefix]
    for role in refused:
        caller = _as_role(owner, role)
        result = await run(site, caller.principal, document(kind, name, field), given)
        assert result.errors is not None
        assert result.errors[0].extensions["code"] == "FORBIDDEN"


def _as_role(estate: Estate, role: Role) -> Estate:
    return replace(estate, principal=replace(estate.principal, role=role))
