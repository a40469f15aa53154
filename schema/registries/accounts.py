"""What each provider takes as user name and password: told before it is stored, not when a pull fails at night. No I/O.

What is refused here can never work there; whether it does work, only the registry knows (test the connection).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

import orjson

from schema.kernel.errors import Issue
from schema.registries.models import RegistryProvider, ScanMethod

# Of Azure: the user of an access token of Entra ID, which has no name of its own.
NOBODY_OF_AZURE = "00000000-0000-0000-0000-000000000000"
_ACCESS_KEY_ID = re.compile(r"AKIA[A-Z0-9]{12,124}")
_SECRET_ACCESS_KEY = re.compile(r"[A-Za-z0-9/+=]{40}")
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_ROBOT_OF_QUAY = re.compile(r"[a-z0-9_.-]+\+[a-z0-9_-]+")
_HEADER_TEXT = re.compile(r"[^\x00-\x1f\x7f]+")
_SERVICE_ACCOUNT = ("client_email", "private_key")


def account_issues(
    provider: RegistryProvider, username: str | None, password: str | None, *, method: ScanMethod
) -> Iterator[Issue]:
    """What is wrong with an account at the provider. A registry without one is pulled from anonymously."""
    if username is None and password is None:
        if provider is RegistryProvider.AWS_ECR and method is ScanMethod.CLOUD:
            yield Issue("username", "Required: Amazon ECR gives out nothing without an access key id (AKIA…)")
            yield Issue("password", "Required: the secret access key")
        return
    if username is None:
        yield Issue("username", f"Required with a password: {_WANTED.get(provider, _ANY)}")
        return
    if password is None:
        yield Issue("password", "Required with a user name")
        return
    if ":" in username or not _HEADER_TEXT.fullmatch(username):
        yield Issue("username", "must not hold a colon or a control character; HTTP cannot send it")
        return
    yield from _CHECKS.get(provider, _nothing_more)(username, password)


_ANY = "a user, or the name of the token"
_WANTED = {
    RegistryProvider.AWS_ECR: "the access key id (AKIA…) of an IAM user",
    RegistryProvider.GOOGLE_GAR: "_json_key, with the key file of a service account as the password",
    RegistryProvider.QUAY: "a robot account, like acme+scanner",
    RegistryProvider.GHCR: "your GitHub user, or x-access-token with the token of a GitHub App",
    RegistryProvider.AZURE_ACR: f"a service principal's id, a token's name, or {NOBODY_OF_AZURE} with an access token",
    RegistryProvider.DOCKER_HUB: "the Docker ID, with an access token as the password",
    RegistryProvider.GITLAB: "the deploy token's user name, or any name with a personal access token",
    RegistryProvider.HARBOR: "a robot account, like robot$acme+scanner",
}


def _nothing_more(_username: str, _password: str) -> Iterator[Issue]:
    return iter(())


def _amazon(username: str, password: str) -> Iterator[Issue]:
    if username == "AWS":
        yield Issue("username", "AWS goes with a password that ends after 12 hours; send the access key id (AKIA…)")
    elif not _ACCESS_KEY_ID.fullmatch(username):
        yield Issue("username", "must be the access key id of an IAM user: AKIA and capitals and digits")
    if not _SECRET_ACCESS_KEY.fullmatch(password):
        yield Issue("password", "must be the secret access key: 40 characters")


def _google(username: str, password: str) -> Iterator[Issue]:
    match username:
        case "_json_key":
            if not _is_service_account(password):
                yield Issue("password", "must be the whole JSON key file of a service account")
        case "_json_key_base64":
            if not _is_service_account(_decoded(password)):
                yield Issue("password", "must be the whole JSON key file of a service account, in base64")
        case "oauth2accesstoken":
            yield Issue("username", "oauth2accesstoken goes with a token that ends after an hour; use _json_key")
        case _:
            yield Issue("username", "must be _json_key, or _json_key_base64")


def _is_service_account(text: str) -> bool:
    try:
        key = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return (
        isinstance(key, dict)
        and key.get("type") == "service_account"
        and all(isinstance(key.get(name), str) for name in _SERVICE_ACCOUNT)
    )


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def _quay(username: str, _password: str) -> Iterator[Issue]:
    if not _ROBOT_OF_QUAY.fullmatch(username) and username not in {"$oauthtoken", "$app"}:
        yield Issue("username", "must be a robot account: the organization, a plus and its name, like acme+scanner")


def _github(_username: str, password: str) -> Iterator[Issue]:
    if password.startswith("github_pat_"):
        yield Issue("password", "GHCR takes no fine-grained token; make a classic one with the scope read:packages")


def _azure(username: str, password: str) -> Iterator[Issue]:
    if username == NOBODY_OF_AZURE and not _JWT.fullmatch(password):
        yield Issue("password", f"must be an access token of the registry (az acr login --expose-token) for {username}")


def _docker_hub(username: str, _password: str) -> Iterator[Issue]:
    if "@" in username:
        yield Issue("username", "must be the Docker ID, not the e-mail address")


_CHECKS = {
    RegistryProvider.AWS_ECR: _amazon,
    RegistryProvider.GOOGLE_GAR: _google,
    RegistryProvider.QUAY: _quay,
    RegistryProvider.GHCR: _github,
    RegistryProvider.AZURE_ACR: _azure,
    RegistryProvider.DOCKER_HUB: _docker_hub,
}
