"""Settings come from the environment or a file, and a wrong one stops the start."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no harborguard.toml."""
    monkeypatch.chdir(tmp_path)


def test_nothing_has_to_be_set(tmp_path: Path) -> None:
    settings = Settings()

    assert settings.embedded
    assert settings.database == f"sqlite+aiosqlite:///{tmp_path / 'var/harborguard/harborguard.db'}"
    assert settings.scratch == tmp_path / "var/harborguard/work"
    assert settings.master_key is None


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "harborguard.toml").write_text('port = 9000\nhost = "0.0.0.0"\n')
    monkeypatch.setenv("HARBORGUARD_PORT", "9001")

    settings = Settings()

    assert (settings.host, settings.port) == ("0.0.0.0", 9001)  # noqa: S104 -- what an operator may write


def test_scale_is_two_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARBORGUARD_DATABASE_URL", "postgresql+asyncpg://db/harborguard")
    monkeypatch.setenv("HARBORGUARD_REDIS_URL", "redis://redis")

    settings = Settings()

    assert not settings.embedded
    assert settings.database == "postgresql+asyncpg://db/harborguard"


def test_networks_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARBORGUARD_OUTGOING_ALLOWED_NETWORKS", "10.0.0.0/8, fd00::/8,")

    assert Settings().outgoing_allowed_networks == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("LEASE_SECONDS", "0"),
        ("WORKER_CONCURRENCY", "0"),
        ("DATABASE_URL", "mysql://db"),
        ("TRUSTED_PROXIES", "not-a-network"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_value_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"HARBORGUARD_{name}", value)

    with pytest.raises(ValidationError):
        Settings()


def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    """A typing error would otherwise be a setting that silently does nothing."""
    (tmp_path / "harborguard.toml").write_text("prot = 9000\n")

    with pytest.raises(ValidationError):
        Settings()


def test_the_master_key_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARBORGUARD_MASTER_KEY", "very-secret-key")

    assert "very-secret-key" not in repr(Settings())


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
