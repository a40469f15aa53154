"""The session cookie under attack: every forgery reads as no session at all (T-13)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey

from schema.kernel.secrets import SessionClaims, SessionSigner
from tests.identity import SESSION_KEY, START

SIGNER = SessionSigner(SESSION_KEY)
CLAIMS = SessionClaims(
    user_id="usr-1",
    organization_id="org-1",
    role="developer",
    session_id="ses-1",
    issued_at=START,
    expires_at=START + timedelta(hours=1),
)
PAYLOAD = {
    "sub": "usr-1",
    "org": "org-1",
    "role": "developer",
    "sid": "ses-1",
    "iat": int(START.timestamp()),
    "exp": int(START.timestamp()) + 3600,
}


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def signed(header: dict[str, Any], payload: dict[str, Any], key: bytes = SESSION_KEY) -> str:
    return jwt.encode(header, payload, OctKey.import_key(key), algorithms=[header["alg"]])


def test_a_cookie_says_what_was_signed() -> None:
    cookie = SIGNER.sign(CLAIMS)
    assert SIGNER.read(cookie, now=START) == CLAIMS
    assert jwt.decode(cookie, OctKey.import_key(SESSION_KEY), algorithms=["HS256"]).claims == PAYLOAD


def test_the_forgeries_below_fail_for_their_own_reason() -> None:
    assert SIGNER.read(signed({"alg": "HS256"}, PAYLOAD), now=START) == CLAIMS


def unsigned(cookie: str) -> str:
    return cookie.rpartition(".")[0] + "."


FORGERIES: dict[str, Callable[[], str]] = {
    "alg none without a signature": lambda: f"{segment({'alg': 'none'})}.{segment(PAYLOAD)}.",
    "alg none with a signature": lambda: ".".join(
        [segment({"alg": "none"}), segment(PAYLOAD), SIGNER.sign(CLAIMS).rpartition(".")[2]]
    ),
    "another key": lambda: signed({"alg": "HS256"}, PAYLOAD, b"x" * 32),
    "another algorithm under our key": lambda: signed({"alg": "HS512"}, PAYLOAD),
    "signature taken off": lambda: unsigned(SIGNER.sign(CLAIMS)),
    "payload of another under our signature": lambda: ".".join(
        [
            SIGNER.sign(CLAIMS).partition(".")[0],
            segment({**PAYLOAD, "sub": "usr-2"}),
            SIGNER.sign(CLAIMS).rpartition(".")[2],
        ]
    ),
    "no expiry": lambda: signed({"alg": "HS256"}, {k: v for k, v in PAYLOAD.items() if k != "exp"}),
    "no session": lambda: signed({"alg": "HS256"}, {k: v for k, v in PAYLOAD.items() if k != "sid"}),
    "expiry that is no number": lambda: signed({"alg": "HS256"}, {**PAYLOAD, "exp": "never"}),
    "issued in the future": lambda: signed({"alg": "HS256"}, {**PAYLOAD, "iat": PAYLOAD["exp"]}),
    "a deeply nested header": lambda: f"{base64.urlsafe_b64encode(b'[' * 70).decode()[:90]}.e30.{'A' * 43}",
    "a very long cookie": lambda: f"{segment({'alg': 'HS256'})}.{'A' * 100_000}.{'A' * 43}",
    "nothing": lambda: "",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_t13_a_forged_cookie_is_no_session(forgery: str) -> None:
    assert SIGNER.read(FORGERIES[forgery](), now=START) is None


def test_t13_an_expired_cookie_is_no_session() -> None:
    cookie = SIGNER.sign(CLAIMS)
    assert SIGNER.read(cookie, now=START + timedelta(hours=1, seconds=61)) is None


@given(st.integers(min_value=0), st.characters(codec="ascii", categories=["L", "N"]))
def test_t13_a_changed_character_is_no_session(position: int, character: str) -> None:
    cookie = SIGNER.sign(CLAIMS)
    index = position % (len(cookie) - 1)  # the last character of a base64url signature has bits that mean nothing
    changed = cookie[:index] + character + cookie[index + 1 :]
    assert changed == cookie or SIGNER.read(changed, now=START) is None


@given(st.text(max_size=200))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert SIGNER.read(text, now=START) is None


def test_what_a_cookie_may_hold_fits() -> None:
    longest = replace(
        CLAIMS, user_id="usr-" + "v" * 26, organization_id="org-" + "v" * 26, session_id="ses-" + "v" * 26
    )
    assert SIGNER.read(SIGNER.sign(longest), now=START) == longest
