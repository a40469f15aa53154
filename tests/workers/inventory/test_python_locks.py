from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.dependencies.records import PackageRecord, PackageType
from tests.workers.inventory.files import files
from workers.inventory.notes import Notes
from workers.inventory.python_locks import NAMES, locked_distributions, wants

LOCKS = Path(__file__).with_name("locks")
REQUIREMENTS = r"""
# comment
--index-url https://pypi.org/simple
-r other.txt
Flask==2.2.5
requests[socks] == 2.31.0 ; python_version >= "3.8"  # why
urllib3===1.26.18
click==8.1.7 \
    --hash=sha256:ae74fb96c20a0277a1d615f1e4d73c8414f5a98db8b799a7931d1582f3390c28 \
    --hash=sha256:ca9853ad459e787e2192211578cc907e7594e294c7ccc834310722b41b9ca6de
hashed==1.0 --hash=sha256:00
django>=4.2
numpy==1.*
range==1.0,!=1.0.1
git+https://example.org/a.git@1.0
./local
unpinned
"""
# In the form of Poetry 2 (groups), of Poetry before 1.5 (category), and of PDM.
POETRY = """
[[package]]
name = "click"
version = "8.1.7"
optional = false
groups = ["main", "dev"]

[[package]]
name = "iniconfig"
version = "2.0.0"
groups = ["dev"]

[[package]]
name = "pluggy"
version = "1.0.0"
category = "dev"

[[package]]
name = "colorama"
version = "0.4.6"
category = "main"

[[package]]
name = "core"
version = "0.1.0"
groups = ["main"]
source = {type = "directory", url = "../core"}

[metadata]
lock-version = "2.1"
"""
PDM = """
[metadata]
groups = ["default", "dev"]
lock_version = "4.5.0"

[[package]]
name = "click"
version = "8.1.7"
groups = ["default"]

[[package]]
name = "iniconfig"
version = "2.0.0"
groups = ["dev"]

[[package]]
name = "core"
version = "0.1.0"
path = "./core"
groups = ["default"]
"""


def read(contents: dict[str, str | bytes], notes: Notes | None = None) -> list[PackageRecord]:
    return list(locked_distributions(files(contents, 1), notes or Notes()))


def pairs(path: str, content: str | bytes) -> set[tuple[str, str]]:
    return {(each.name, each.version) for each in read({path: content})}


def test_requirements() -> None:
    assert pairs("app/requirements.txt", REQUIREMENTS) == {
        ("Flask", "2.2.5"),
        ("requests", "2.31.0"),
        ("urllib3", "1.26.18"),
        ("click", "8.1.7"),
        ("hashed", "1.0"),
    }


def test_a_required_distribution() -> None:
    assert read({"app/requirements.txt": "Zope.Interface==6.1\n"}) == [
        PackageRecord(
            name="Zope.Interface",
            version="6.1",
            type=PackageType.PIP,
            ecosystem="PyPI",
            source_name="zope-interface",
            source_version="6.1",
            purl="pkg:pypi/zope.interface@6.1",
            path="app/requirements.txt",
            layer_digest=f"sha256:{1:064x}",
            layer_index=1,
        )
    ]


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("requirements.txt", True),
        ("app/requirements-prod.txt", True),
        ("app/requirements_base.txt", True),
        ("app/requirements-dev.txt", False),
        ("app/requirements_test.txt", False),
        ("app/requirements.docs.txt", False),
        ("app/tests/requirements.txt", False),
        ("app/my-requirements.txt", False),
        ("app/uv.lock", True),
        ("usr/lib/python3/dist-packages/a/poetry.lock", False),
    ],
)
def test_files_that_speak_for_an_application(path: str, wanted: bool) -> None:  # noqa: FBT001 -- a parameter of the test
    assert wants(path) is wanted


def test_a_lock_file_of_uv() -> None:
    """The extra is there, colorama for one platform too; pytest-mock and what it needs are not."""
    assert pairs("app/uv.lock", (LOCKS / "uv/uv.lock").read_bytes()) == {
        ("click", "8.1.7"),
        ("colorama", "0.4.6"),
        ("itsdangerous", "2.2.0"),
    }


def test_a_lock_file_of_uv_without_a_member() -> None:
    lock = '[[package]]\nname = "a"\nversion = "1"\nsource = { registry = "https://pypi.org/simple" }\n'
    assert pairs("uv.lock", lock) == {("a", "1")}


def test_a_lock_file_of_pipenv() -> None:
    assert pairs("app/Pipfile.lock", (LOCKS / "pipenv/Pipfile.lock").read_bytes()) == {("click", "8.1.7")}


def test_a_lock_file_of_poetry() -> None:
    assert pairs("app/poetry.lock", POETRY) == {("click", "8.1.7"), ("colorama", "0.4.6")}


def test_a_lock_file_of_pdm() -> None:
    assert pairs("app/pdm.lock", PDM) == {("click", "8.1.7")}


def test_a_malformed_file_costs_only_itself() -> None:
    notes = Notes()
    contents: dict[str, str | bytes] = {
        "a/Pipfile.lock": "{",
        "b/poetry.lock": "[[",
        "c/uv.lock": "x = 1\n" * 1_000_000,
        "d/requirements.txt": "a==1",
        "e/pdm.lock": "package = 1",
    }
    assert [each.name for each in read(contents, notes)] == ["a"]
    assert notes.lines() == (
        "a/Pipfile.lock: is not JSON",
        "b/poetry.lock: is not TOML",
        "c/uv.lock: is too large to be a uv.lock",
    )


names = st.sampled_from(["requirements.txt", *NAMES])


@settings(deadline=None)
@given(names, st.binary())
def test_nothing_makes_it_raise(name: str, content: bytes) -> None:
    read({name: content})


@settings(deadline=None)
@given(st.sampled_from(["poetry.lock", "uv.lock", "pdm.lock"]), st.recursive(st.integers() | st.text(), st.lists))
def test_no_values_make_it_raise(name: str, value: object) -> None:
    keys = ("name", "version", "source", "groups", "category", "dependencies", "optional-dependencies")
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key in keys)
    read({name: f"[[package]]\n{lines}\n[[package]]\nname = 'a'\nversion = '1'\n"})


@settings(deadline=None)
@given(st.text(alphabet="a1=;#[]\\ -!,\n"))
def test_no_requirements_make_it_raise(text: str) -> None:
    read({"requirements.txt": text})
