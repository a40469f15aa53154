from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.organizations.inputs import EMAIL, NAME, NEW_PASSWORD


@pytest.mark.parametrize(
    "address",
    [
        "ada@acme.example",
        "Ada.Lovelace+scans@mail.acme.example",
        "o'neil@acme.example",
        "root@intranet",
        "x@1.2.example",
        "a@" + "b" * 63 + ".example",
    ],
)
def test_an_address_people_have_is_taken(address: str) -> None:
    assert EMAIL.problem(address) is None


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ada",
        "@acme.example",
        "ada@",
        "ada@acme..example",
        "ada@-acme.example",
        "ada@acme.example.",
        "ada@acme.example\n",
        "ada @acme.example",
        "ada@acme.example, eve@other.example",
        "Ada <ada@acme.example>",
        "ada@" + "b" * 64 + ".example",
        "a" * 65 + "@acme.example",
        "a@" + ".".join(["b" * 60] * 5),
        "ada@acmé.example",
    ],
)
def test_anything_else_is_refused(address: str) -> None:
    assert EMAIL.problem(address) is not None


@given(st.from_regex(r"[A-Za-z0-9.]{0,40}@?[A-Za-z0-9.-]{0,120}", fullmatch=True))
def test_what_is_taken_has_one_at_sign_and_no_space(text: str) -> None:
    if EMAIL.problem(text) is None:
        local, _, host = text.partition("@")
        assert local
        assert all(host.split("."))


@given(st.text(min_size=12, max_size=256).filter(lambda text: "\x00" not in text))
def test_any_long_password_is_taken(password: str) -> None:
    assert NEW_PASSWORD.problem(password) is None


@given(st.text(max_size=11))
def test_no_short_password_is_taken(password: str) -> None:
    assert NEW_PASSWORD.problem(password) is not None


@given(st.text(min_size=1, max_size=200))
def test_a_name_is_taken_as_people_write_it(name: str) -> None:
    clean = name == name.strip() and name.isprintable()
    assert not clean or NAME.problem(name) is None
