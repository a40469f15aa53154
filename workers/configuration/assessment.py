"""Runs every check that can be decided over the facts of an image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from schema.scans.evidence import CheckLevel, CheckOutcome, MisconfigurationRecord
from workers.configuration import accounts, checks, config, files, history
from workers.configuration.checks import CHECKS, Check, Needs
from workers.configuration.facts import Facts, Failure
from workers.inventory.notes import printable

RECORDS = 100  # of one check; all are counted
_LATEST = "latest"
_LEVELS = tuple(CheckLevel)


def assess(
    facts: Facts, diff_ids: Sequence[str]
) -> tuple[tuple[CheckOutcome, ...], tuple[MisconfigurationRecord, ...]]:
    """The checks that could be decided, and a record of each place where one fails, the most severe first."""
    outcomes, records = [], []
    for check in CHECKS:
        if not any(_has(facts, need, check) for need in check.needs):
            continue
        failures = sorted(set(_JUDGES[check.id](facts)), key=lambda each: (each.path, each.layer, each.evidence))
        outcomes.append(CheckOutcome(check_id=check.id, failures=len(failures)))
        records += [_record(check, failure, diff_ids) for failure in failures[:RECORDS]]
    records.sort(key=lambda each: _LEVELS.index(each.level))  # stable, so still by check and path
    return tuple(outcomes), tuple(records)


def _has(facts: Facts, need: Needs, check: Check) -> bool:
    match need:
        case Needs.CONFIG:
            return facts.config is not None
        case Needs.HISTORY:
            return any(step.created_by for step in facts.history)
        case Needs.TAG:
            return facts.tag is not None
        case Needs.ACCOUNTS:
            return (accounts.has_ids if check is checks.UNIQUE_IDS else accounts.has_passwords)(facts.contents)
        case Needs.FILES:
            return True
        case Needs.NOTHING:
            return False


def _secrets(facts: Facts) -> Iterator[Failure]:
    yield from config.check_variables(facts.config or {})
    yield from history.check_assignments(facts.history)
    yield from files.check_credential_files(facts.files)


def _sudo(facts: Facts) -> Iterator[Failure]:
    yield from history.check_sudo(facts.history)
    yield from files.check_sudo_program(facts.files)


def _latest(facts: Facts) -> Iterator[Failure]:
    if facts.tag == _LATEST:
        yield Failure(f"It was scanned as {_LATEST}")


_JUDGES: dict[str, Callable[[Facts], Iterable[Failure]]] = {
    checks.USER.id: lambda facts: config.check_user(facts.config or {}),
    checks.HEALTHCHECK.id: lambda facts: config.check_healthcheck(facts.config or {}),
    checks.UPDATE_ALONE.id: lambda facts: history.check_update_alone(facts.history),
    checks.SETUID.id: lambda facts: files.check_setuid(facts.files),
    checks.ADD.id: lambda facts: history.check_add(facts.history),
    checks.SECRETS.id: _secrets,
    checks.VERIFIED_PACKAGES.id: lambda facts: history.check_verification(facts.history),
    checks.SUDO.id: _sudo,
    checks.VOLUMES.id: lambda facts: config.check_volumes(facts.config or {}),
    checks.DIST_UPGRADE.id: lambda facts: history.check_upgrade(facts.history),
    checks.APK_CACHE.id: lambda facts: history.check_apk_cache(facts.history),
    checks.APT_CACHE.id: lambda facts: history.check_apt_cache(facts.history, facts.list_layers),
    checks.LATEST.id: _latest,
    checks.EMPTY_PASSWORD.id: lambda facts: accounts.check_empty_passwords(facts.contents),
    checks.UNIQUE_IDS.id: lambda facts: accounts.check_unique_ids(facts.contents),
    checks.CLUTTER.id: lambda facts: files.check_clutter(facts.files, facts.clutter),
    checks.PORTS.id: lambda facts: config.check_ports(facts.config or {}),
    checks.LABELS.id: lambda facts: config.check_labels(facts.config or {}),
    checks.REMOTE_LOGIN.id: lambda facts: config.check_remote_login(facts.config or {}),
    checks.PIPED_DOWNLOAD.id: lambda facts: history.check_piped_downloads(facts.history),
    checks.PASSWORDLESS_SUDO.id: lambda facts: accounts.check_sudoers(facts.contents),
    checks.WRITABLE.id: lambda facts: files.check_writable(facts.files),
}


def _record(check: Check, failure: Failure, diff_ids: Sequence[str]) -> MisconfigurationRecord:
    known = 0 <= failure.layer < len(diff_ids)
    return MisconfigurationRecord(
        check_id=check.id,
        title=check.title,
        level=check.level,
        severity=check.severity,
        evidence=(printable(failure.evidence),),
        remediation=check.remediation,
        path=failure.path,
        layer_digest=diff_ids[failure.layer] if known else "",
        layer_index=failure.layer if known else -1,
    )
