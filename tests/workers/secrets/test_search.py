"""Every rule finds its kind of secret, masks it, and takes no more time than there are bytes."""

from __future__ import annotations

import itertools
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.secrets.samples import ALNUM, SAMPLES, made_up, pem, secret_lines, text
from workers.secrets.names import is_secret_name, is_secret_value
from workers.secrets.rules import RULES
from workers.secrets.search import (
    DOCUMENT_DEPTH,
    FILE_SIGHTINGS,
    REDACTED_CHARACTERS,
    is_binary,
    mask,
    redact,
    redact_document,
    redact_summary,
    search,
)

MIB = 1024**2


def rules_in(content: bytes | str, path: str = "app/.env") -> list[str]:
    return [each.rule.id for each in search(content.encode() if isinstance(content, str) else content, path)]


def test_every_rule_has_a_sample() -> None:
    assert set(SAMPLES) == {rule.id for rule in RULES}


@pytest.mark.parametrize("rule", SAMPLES)
def test_a_secret_is_found_where_it_stands(rule: str) -> None:
    path, before, secret, _ = SAMPLES[rule]
    [sighting] = search(b"nothing\n\n" + text(rule), path)
    assert sighting.rule.id == rule
    assert sighting.line >= 3 + before.count("\n")
    body = (b"nothing\n\n" + text(rule))[sighting.start : sighting.end].decode()
    assert body.removesuffix("\\n").strip() in secret
    assert all(line in body for line in secret_lines(rule)[:1])


@pytest.mark.parametrize("rule", SAMPLES)
def test_a_secret_is_masked(rule: str) -> None:
    [sighting] = search(text(rule), SAMPLES[rule][0])
    head, stars, tail = sighting.masked.partition("********")
    assert stars
    assert len(head) <= 4
    assert len(tail) <= 4
    assert not any(line in str(sighting.masked) for line in secret_lines(rule))


@pytest.mark.parametrize("rule", SAMPLES)
def test_a_secret_is_not_found_without_its_keyword_or_in_documentation(rule: str) -> None:
    path, _, secret, _ = SAMPLES[rule]
    assert search(text(rule), f"usr/share/doc/shop/{path}") == []
    # Everything but the secret's own characters, so no rule may depend on what is in front alone.
    assert rule not in rules_in(text(rule).replace(secret.encode(), b""), path)


@pytest.mark.parametrize(
    "content",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "ghp_" + "x" * 36,
        "GITHUB_TOKEN=ghp_" + "1234567890abcdef" * 3,
        "postgresql://user:password@localhost/db",
        "https://user:${PASSWORD}@example.com",
        "https://name:<token>@example.com/",
        "https://example.com:8080/a@b",
        "password = ${DB_PASSWORD}",
        "password: changeme-please-1",
        "API_TOKEN=your-token-here-123",
        "secret_path = /run/secrets/shop-1",
        "token_type: bearer",
        "password_policy: minimum-length-twelve",
        "SSH_PRIVATE_KEY=-----BEGIN PRIVATE KEY-----",
        "npm_config_registry_for_this_project_is_long_enough",
        "eyJhbGciOiJIUzI1NiJ9 is only a header",
    ],
)
def test_examples_and_references_are_none(content: str) -> None:
    assert rules_in(content) == []


def test_the_particular_rule_claims_the_place() -> None:
    assert rules_in("GITHUB_TOKEN=ghp_" + made_up(ALNUM, 36)) == ["github-token"]
    account = text("gcp-service-account-key")
    assert rules_in(account, "app/key.json") == ["gcp-service-account-key"]


def test_the_debian_snake_oil_key_is_no_secret() -> None:
    key = pem()
    assert rules_in(key, "etc/ssl/private/ssl-cert-snakeoil.key") == []
    assert rules_in(key, "etc/ssl/private/shop.key") == ["private-key"]


def test_tests_of_installed_packages_are_left_out_and_those_of_the_application_are_not() -> None:
    key = pem("RSA ")
    assert rules_in(key, "usr/lib/python3.11/test/certdata/ssl_key.pem") == []
    assert rules_in(key, "app/node_modules/tls/test/fixtures/a.pem") == []
    assert rules_in(key, "app/tests/a.pem") == ["private-key"]
    assert rules_in(key, "usr/lib/python3/dist-packages/shop/key.pem") == ["private-key"]


def test_everyday_text_in_packages_is_left_out() -> None:
    content = "postgresql://shop:k9Zt4mQx@db.internal/shop"
    assert rules_in(content, "usr/lib/python3/dist-packages/shop/settings.toml") == []
    assert rules_in(content, "app/settings.toml") == ["url-credential"]


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "DSA ", "OPENSSH ", "ENCRYPTED "])
def test_keys_of_every_kind(kind: str) -> None:
    assert rules_in(pem(kind)) == ["private-key"]
    assert rules_in(pem(kind).replace("\n", "\r\n")) == ["private-key"]
    assert rules_in(pem(kind).replace("\n", "\\n")) == ["private-key"]


def test_a_key_with_headers() -> None:
    headers = "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,3F17F5316E2BAC89\n\n"
    assert rules_in(pem("RSA ").replace("-----\n", headers, 1)) == ["private-key"]


def test_a_public_key_is_none() -> None:
    assert rules_in(pem().replace("PRIVATE", "PUBLIC")) == []


def test_secrets_of_one_file_are_bounded() -> None:
    content = "\n".join("ghp_" + made_up(ALNUM, 36) for _ in range(FILE_SIGHTINGS + 5))
    assert len(rules_in(content)) == FILE_SIGHTINGS


def test_equal_secrets_have_equal_fingerprints() -> None:
    token = "ghp_" + made_up(ALNUM, 36)
    first, second, other = search(f"{token} {token}\nghp_{made_up(ALNUM, 36)}".encode(), "a")
    assert first.fingerprint == second.fingerprint != other.fingerprint


def test_files_with_a_zero_byte_are_binary() -> None:
    assert is_binary(b"\x7fELF\0\1")
    assert not is_binary("ä text\n".encode())


class TestMasking:
    @given(st.text(max_size=200))
    def test_never_more_than_four_at_each_end_and_never_the_whole(self, secret: str) -> None:
        masked = mask(secret)
        head, tail = masked.split("********")
        assert len(head) <= 4
        assert len(tail) <= 4
        assert len(head) + len(tail) <= len(secret) / 4

    def test_long_ones_show_their_ends(self) -> None:
        assert mask("AKIA234567ABCDEFGHIJ") == "AKIA********"
        assert mask("ghp_" + "a" * 30 + "wxyz") == "ghp_********wxyz"
        assert mask("hunter2") == "********"


class TestRedaction:
    @pytest.mark.parametrize("rule", [rule.id for rule in RULES if not rule.paths])
    def test_what_is_found_is_masked(self, rule: str) -> None:
        redacted = redact(f"RUN echo '{text(rule).decode()}' > /key")
        assert redacted.startswith("RUN echo ")
        assert redacted.endswith(" > /key")
        assert not any(line in redacted for line in secret_lines(rule))

    def test_values_are_masked_by_their_name(self) -> None:
        step = "RUN |2 API_KEY=abc A=b /bin/sh -c mysql --password='x y' -u root; export T_TOKEN=\"q\" MODE=fast"
        assert redact(step) == (
            "RUN |2 API_KEY=******** A=b /bin/sh -c mysql --password=******** -u root; export T_TOKEN=******** MODE=fast"
        )

    def test_however_many_there_are(self) -> None:
        tokens = ["ghp_" + made_up(ALNUM, 36) for _ in range(FILE_SIGHTINGS * 3)]
        redacted = redact(" ".join(tokens))
        assert redacted.count("ghp_********") == len(tokens)

    def test_a_long_text_is_cut_at_a_space(self) -> None:
        token = "ghp_" + made_up(ALNUM, 36)
        assert redact("a " * (REDACTED_CHARACTERS // 2 - 5) + token + " b" * 50).endswith(" a …")
        assert redact(token * (REDACTED_CHARACTERS // 30)) == "…"

    def test_other_text_stays(self) -> None:
        for step in ("RUN apt-get update && apt-get install -y curl=7.88.1-10", "ENV PATH=/usr/bin:/bin", "", "ü 日本"):
            assert redact(step) == step

    def test_a_summary_is_redacted_everywhere(self) -> None:
        token = "ghp_" + made_up(ALNUM, 36)
        summary = {"user": token, "command": ["run", token], "labels": {"api.token": "x", "a": token, "b": "c"}, "n": 1}
        redacted = redact_summary(summary)
        assert token not in str(redacted)
        assert redacted["labels"] == {"api.token": "********", "a": f"ghp_********{token[-4:]}", "b": "c"}
        assert redacted["n"] == 1

    def test_a_document_is_redacted_everywhere_and_only_so_deep(self) -> None:
        token = "ghp_" + made_up(ALNUM, 36)
        masked = f"ghp_********{token[-4:]}"
        assert redact_document({"a": [token, {"b": token}], "n": 1.5, "x": None}) == {
            "a": [masked, {"b": masked}],
            "n": 1.5,
            "x": None,
        }
        nested: object = token
        for _ in range(DOCUMENT_DEPTH - 1):
            nested = [nested]
        assert masked in str(redact_document([nested]))
        assert masked not in str(redact_document([[nested]]))

    @given(st.text())
    def test_any_text(self, content: str) -> None:
        assert isinstance(redact(content), str)


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            "PASSWORD",
            "DB_PASSWORD",
            "MYSQL_ROOT_PASSWORD",
            "DBPASSWORD",
            "api-key",
            "API_KEY",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_ACCESS_KEY_ID",
            "GITHUB_TOKEN",
            "token",
            "client.secret",
            "KEY",
            "com.example.api-token",
            "MYSQL_PWD",
        ],
    )
    def test_secret(self, name: str) -> None:
        assert is_secret_name(name)

    @pytest.mark.parametrize(
        "name",
        [
            "PATH",
            "PWD",
            "BYPASS",
            "KEYBOARD",
            "MONKEY",
            "ACCESS_LOG",
            "GPG_KEY",
            "GPG_KEYS",
            "DB_PASSWORD_FILE",
            "TOKEN_URL",
            "SECRET_NAME",
            "KEYCLOAK_HOST",
            "LANG",
            "PUBLIC_KEY",
            "org.opencontainers.image.authors",
            "",
        ],
    )
    def test_not_secret(self, name: str) -> None:
        assert not is_secret_name(name)

    @pytest.mark.parametrize("value", ["", '""', "true", "$OTHER", "/run/secrets/x", "<set me>", "0"])
    def test_values_that_hold_nothing(self, value: str) -> None:
        assert not is_secret_value(value)


@pytest.mark.parametrize("rule", [rule.id for rule in RULES])
@pytest.mark.parametrize("filler", ["a", "A1", "=", '"', " ", "-", ".", "://a:", "\n", "eyJ", "password"])
def test_t50_no_text_takes_more_than_linear_time(rule: str, filler: str) -> None:
    """A pattern that backtracks would take hours for one of these; the limit of the run is the only clock here."""
    path, before, secret, _ = SAMPLES[rule]
    start = before + secret[: len(secret) // 2]
    for content in (start + filler * (MIB // len(filler)), (start + filler * 20) * (MIB // (len(start) + 20))):
        assert len(search(content.encode()[:MIB], path)) <= FILE_SIGHTINGS


@settings(deadline=None)
@given(
    pieces=st.lists(
        st.one_of(
            st.binary(max_size=40), st.sampled_from([text(rule) for rule in SAMPLES]), st.sampled_from([b"=", b"\n"])
        ),
        max_size=8,
    ),
    path=st.sampled_from([SAMPLES[rule][0] for rule in SAMPLES]),
)
def test_any_bytes_can_be_searched(pieces: list[bytes], path: str) -> None:
    content = b"".join(pieces)
    sightings = search(content, path)
    assert all(0 <= each.start < each.end <= len(content) for each in sightings)
    assert all(first.end <= second.start for first, second in itertools.pairwise(sightings))
    assert all(each.masked.isprintable() for each in sightings)


def test_rules_are_in_order() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert all(set(rule.id) <= set(string.ascii_lowercase + string.digits + "-") for rule in RULES)
    assert all(rule.keywords for rule in RULES)
