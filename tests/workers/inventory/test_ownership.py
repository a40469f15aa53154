from __future__ import annotations

import hashlib

import pytest

from tests.workers.inventory.files import files
from workers.inventory import ownership
from workers.inventory.ownership import Ownership
from workers.oci.files import Place

PATH = "usr/lib/python3/six.egg-info"


def test_only_files_that_are_there_are_owned() -> None:
    owned = Ownership(files({PATH: "Name: six"}))
    owned.claim(PATH, "python3-six")
    owned.claim("usr/lib/python3/other.egg-info", "other")
    assert owned.owner(PATH) == "python3-six"
    assert owned.owner("usr/lib/python3/other.egg-info") is None


def test_the_first_claim_counts() -> None:
    owned = Ownership(files({PATH: ""}))
    owned.claim(PATH, "first")
    owned.claim(PATH, "second")
    assert owned.owner(PATH) == "first"


def test_a_list_from_before_the_merged_usr() -> None:
    owned = Ownership(files({PATH: ""}))
    owned.claim(PATH.removeprefix("usr/"), "python3-six")
    assert owned.owner(PATH) == "python3-six"


def test_a_digest_is_that_of_the_file() -> None:
    owned = Ownership(files({PATH: "Name: six"}))
    owned.claim(PATH, "other", digest=("sha256", "00"))
    assert owned.owner(PATH) is None
    owned.claim(PATH, "six", digest=("sha256", hashlib.sha256(b"Name: six").hexdigest()))
    assert owned.owner(PATH) == "six"


def test_only_some_files_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def locate(path: str) -> Place | None:
        asked.append(path)
        return None

    owned = Ownership({}, locate)
    assert owned.place(str(number) for number in range(10_000)) is None
    assert len(asked) == 32
    monkeypatch.setattr(ownership, "_LOOKED_UP_IN_ALL", 40)
    owned = Ownership({}, locate)
    for _ in range(3):
        assert owned.place(str(number) for number in range(10_000)) is None
    assert len(asked) == 32 + 40
