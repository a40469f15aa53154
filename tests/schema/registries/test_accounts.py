from __future__ import annotations

import base64
import json

import pytest

from schema.registries.accounts import NOBODY_OF_AZURE, account_issues
from schema.registries.models import RegistryProvider, ScanMethod

KEY_FILE = json.dumps({"type": "service_account", "client_email": "scan@acme.iam", "private_key": "-----BEGIN"})
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def paths(
    provider: str, username: str | None, password: str | None, method: ScanMethod = ScanMethod.CLOUD
) -> list[str]:
    return [issue.path for issue in account_issues(RegistryProvider(provider), username, password, method=method)]


@pytest.mark.parametrize("provider", [each.value for each in RegistryProvider if each is not RegistryProvider.AWS_ECR])
def test_a_registry_without_an_account_is_pulled_from_anonymously(provider: str) -> None:
    assert paths(provider, None, None) == []


@pytest.mark.parametrize("provider", [each.value for each in RegistryProvider])
def test_half_an_account_is_none(provider: str) -> None:
    assert paths(provider, None, "x") == ["username"]
    assert paths(provider, "x", None) == ["password"]
    assert paths(provider, "x:y", SECRET) == ["username"], "HTTP cannot send it"


@pytest.mark.parametrize(
    ("provider", "username", "password", "wrong"),
    [
        ("AWS_ECR", None, None, ["username", "password"]),
        ("AWS_ECR", "AKIAIOSFODNN7EXAMPLE", SECRET, []),
        ("AWS_ECR", "AKIAIOSFODNN7EXAMPLE", "short", ["password"]),
        ("AWS_ECR", "AWS", SECRET, ["username"]),
        ("AWS_ECR", "robot", SECRET, ["username"]),
        ("GOOGLE_GAR", "_json_key", KEY_FILE, []),
        ("GOOGLE_GAR", "_json_key", '{"type": "authorized_user"}', ["password"]),
        ("GOOGLE_GAR", "_json_key", "not json", ["password"]),
        ("GOOGLE_GAR", "_json_key", "[]", ["password"]),
        ("GOOGLE_GAR", "_json_key_base64", base64.b64encode(KEY_FILE.encode()).decode(), []),
        ("GOOGLE_GAR", "_json_key_base64", KEY_FILE, ["password"]),
        ("GOOGLE_GAR", "oauth2accesstoken", "ya29.x", ["username"]),
        ("GOOGLE_GAR", "robot", "x", ["username"]),
        ("QUAY", "acme+scanner", "x", []),
        ("QUAY", "$oauthtoken", "x", []),
        ("QUAY", "ada", "x", ["username"]),
        ("GHCR", "x-access-token", "ghs_x", []),
        ("GHCR", "ada", "ghp_x", []),
        ("GHCR", "ada", "github_pat_x", ["password"]),
        ("AZURE_ACR", NOBODY_OF_AZURE, "eyJh.eyJz.c2ln", []),
        ("AZURE_ACR", NOBODY_OF_AZURE, "a password", ["password"]),
        ("AZURE_ACR", "scanner-token", "a password", []),
        ("DOCKER_HUB", "acme", "dckr_pat_x", []),
        ("DOCKER_HUB", "ada@acme.example", "x", ["username"]),
        ("HARBOR", "robot$acme+scanner", "x", []),
        ("GITLAB", "gitlab+deploy-token-1", "gldt-x", []),
        ("JFROG", "ada@acme.example", "x", []),
        ("NEXUS", "scanner", "x", []),
        ("DOCKER_REGISTRY", "scanner", "x", []),
        ("CUSTOM", "scanner", "x", []),
    ],
)
def test_what_a_provider_takes(provider: str, username: str | None, password: str | None, wrong: list[str]) -> None:
    assert paths(provider, username, password) == wrong


def test_the_sensor_of_a_registry_has_the_account() -> None:
    assert paths("AWS_ECR", None, None, ScanMethod.SENSOR) == []


def test_no_message_repeats_a_password() -> None:
    for provider in RegistryProvider:
        for username in ("_json_key", "AWS", "x", NOBODY_OF_AZURE):
            issues = account_issues(provider, username, "github_pat_hunter2", method=ScanMethod.CLOUD)
            assert not [issue for issue in issues if "hunter2" in issue.message]
