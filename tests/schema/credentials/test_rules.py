from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.credentials.rules import (
    PERMISSIONS,
    Refusal,
    browser_user,
    key_role,
    person,
    refusal,
    seen_every,
    token_expiry,
    token_permissions,
)
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.principal import ROLE_LEVEL, ActorKind, Principal, Role, holds, permissions_of
from schema.organizations.models import MembershipStatus
from tests.identity import START, limited

SECOND = timedelta(seconds=1)


def caller(role: Role = Role.ADMIN, kind: ActorKind = ActorKind.USER) -> Principal:
    return Principal(
        organization_id="org-1",
        role=role,
        actor_kind=kind,
        actor_id="usr-1",
        user_id=None if kind is ActorKind.API_KEY else "usr-1",
        credential_id="ses-1",
    )


def test_a_credential_counts_until_the_second_it_expires() -> None:
    assert refusal(revoked_at=None, expires_at=START + SECOND, now=START) is None
    assert refusal(revoked_at=None, expires_at=START, now=START) is Refusal.EXPIRED
    assert refusal(revoked_at=None, expires_at=None, now=START) is None


def test_revocation_comes_before_every_other_reason() -> None:
    reason = refusal(
        revoked_at=START,
        expires_at=START - SECOND,
        idle_until=START - SECOND,
        membership=MembershipStatus.SUSPENDED,
        now=START,
    )
    assert reason is Refusal.REVOKED


@pytest.mark.parametrize("status", [MembershipStatus.SUSPENDED, MembershipStatus.INVITED])
def test_only_an_active_member_counts(status: MembershipStatus) -> None:
    assert refusal(revoked_at=None, expires_at=None, membership=status, now=START) is Refusal.MEMBERSHIP


def test_an_idle_session_is_over() -> None:
    assert refusal(revoked_at=None, expires_at=None, idle_until=START, now=START) is Refusal.IDLE
    assert refusal(revoked_at=None, expires_at=None, idle_until=START + SECOND, now=START) is None


@given(st.integers(min_value=1, max_value=10_000_000))
def test_a_used_session_is_written_before_it_could_idle_out(idle_seconds: int) -> None:
    every = seen_every(idle_seconds)
    assert timedelta(0) < every < timedelta(seconds=idle_seconds)
    assert every <= timedelta(minutes=1)


def test_a_key_is_ci_unless_asked_for() -> None:
    assert key_role(None, caller()) is Role.CI


NOT_GIVEN = {Role.OWNER, Role.SENSOR}


@given(st.sampled_from(Role), st.sampled_from(Role))
def test_no_key_stands_above_its_creator(wanted: Role, creator: Role) -> None:
    try:
        assert ROLE_LEVEL[key_role(wanted, caller(creator))] <= ROLE_LEVEL[creator]
    except HarborGuardError as error:
        assert error.code is (ErrorCode.VALIDATION_ERROR if wanted in NOT_GIVEN else ErrorCode.FORBIDDEN)  # noqa: PT017 -- either outcome is right, each only where it belongs
        assert wanted in NOT_GIVEN or ROLE_LEVEL[wanted] > ROLE_LEVEL[creator]


def test_a_limited_token_cannot_create_a_key() -> None:
    with pytest.raises(HarborGuardError) as refused:
        key_role(Role.VIEWER, limited(caller(), "api-keys:create"))
    assert refused.value.code is ErrorCode.FORBIDDEN


def test_a_token_without_a_list_follows_the_role() -> None:
    assert token_permissions(None, caller()) is None


def test_a_token_made_by_a_limited_token_is_limited_as_well() -> None:
    creator = limited(caller(), "tokens:self", "scans:view")
    assert token_permissions(None, creator) == ["scans:view", "tokens:self"]
    with pytest.raises(HarborGuardError) as refused:
        token_permissions(["scans:create"], creator)
    assert refused.value.code is ErrorCode.FORBIDDEN


def test_a_name_that_is_no_permission_is_pointed_at() -> None:
    with pytest.raises(HarborGuardError) as refused:
        token_permissions(["scans:view", "scans:fly"], caller())
    assert [issue.path for issue in refused.value.issues] == ["permissions.1"]


def test_permissions_are_kept_once_and_sorted() -> None:
    assert token_permissions(["scans:view", "images:view", "scans:view"], caller()) == ["images:view", "scans:view"]


@given(st.sampled_from(Role), st.lists(st.sampled_from(sorted(PERMISSIONS)), min_size=1, max_size=5))
def test_a_token_never_holds_more_than_its_creator(role: Role, wanted: list[str]) -> None:
    creator = caller(role)
    try:
        given_permissions = token_permissions(wanted, creator)
    except HarborGuardError:
        assert not all(creator.can(name) for name in wanted)
    else:
        assert given_permissions is not None
        assert all(creator.can(name) for name in given_permissions)


def test_a_token_ends_with_the_token_that_made_it() -> None:
    assert token_expiry(START, creator_expiry=None) == START
    assert token_expiry(None, creator_expiry=START) == START
    assert token_expiry(START - SECOND, creator_expiry=START) == START - SECOND
    with pytest.raises(HarborGuardError):
        token_expiry(START + SECOND, creator_expiry=START)


def test_an_api_key_is_no_person() -> None:
    assert person(caller(kind=ActorKind.TOKEN)) == "usr-1"
    with pytest.raises(HarborGuardError):
        person(caller(kind=ActorKind.API_KEY))


@pytest.mark.parametrize("kind", [ActorKind.TOKEN, ActorKind.API_KEY])
def test_only_a_browser_reaches_sessions(kind: ActorKind) -> None:
    assert browser_user(caller()) == "usr-1"
    with pytest.raises(HarborGuardError):
        browser_user(caller(kind=kind))


@given(st.sampled_from(Role))
def test_the_list_of_a_role_is_what_the_role_holds(role: Role) -> None:
    assert all(holds(role, name) for name in permissions_of(role))
    assert set(permissions_of(role)) >= {name for name in PERMISSIONS if holds(role, name)}


def test_a_subset_with_admin_holds_every_action_of_that_domain_only() -> None:
    principal = limited(caller(), "scans:admin")
    assert principal.can("scans:delete")
    assert not principal.can("images:view")
    assert not limited(caller(Role.VIEWER), "scans:admin").can("scans:delete")
