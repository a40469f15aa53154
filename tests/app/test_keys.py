from __future__ import annotations

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.keys import KEY_FILE, FileKeyProvider, MasterKeyError, load_master_key, server_secrets
from schema.kernel.secrets import seal, unseal
from tests.identity import MASTER_KEY


def test_the_first_start_makes_a_key_nobody_else_can_read(tmp_path: Path) -> None:
    key = load_master_key(tmp_path / "data")
    path = tmp_path / "data" / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert base64.b64decode(path.read_text()) == key
    assert len(key) == 32
    assert [entry.name for entry in path.parent.iterdir()] == [KEY_FILE]


def test_the_key_stays(tmp_path: Path) -> None:
    assert load_master_key(tmp_path) == load_master_key(tmp_path)
    assert load_master_key(tmp_path) != load_master_key(tmp_path / "other")


def test_a_careless_umask_does_not_open_the_key(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_master_key(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    for attempt in range(20):
        data_dir = tmp_path / str(attempt)
        with ThreadPoolExecutor(8) as threads:
            keys = set(threads.map(load_master_key, [data_dir] * 8))
        assert len(keys) == 1
        assert [entry.name for entry in data_dir.iterdir()] == [KEY_FILE]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o666, 0o610])
def test_a_key_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    load_master_key(tmp_path)
    path = tmp_path / KEY_FILE
    path.chmod(mode)
    with pytest.raises(MasterKeyError) as refused:
        load_master_key(tmp_path)
    assert str(refused.value) == f"The key file {path} is open to others (mode 0{mode:o}); run: chmod 600 {path}"
    path.chmod(0o400)
    assert load_master_key(tmp_path)


@pytest.mark.parametrize("content", ["", "short", "A" * 43, base64.b64encode(b"x" * 31).decode(), "not base64 at all!"])
def test_a_key_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / KEY_FILE
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(MasterKeyError, match=KEY_FILE):
        load_master_key(tmp_path)
    assert path.read_text() == content, "a damaged key is evidence, not something to write over"
    with pytest.raises(MasterKeyError, match="HARBORGUARD_MASTER_KEY must hold 32 bytes"):
        load_master_key(tmp_path, content)


def test_a_data_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MasterKeyError, match="cannot be used"):
        load_master_key(tmp_path / "file" / "below")


def test_a_given_key_needs_no_file(tmp_path: Path) -> None:
    assert load_master_key(tmp_path, f" {MASTER_KEY}\n") == base64.b64decode(MASTER_KEY)
    assert FileKeyProvider(tmp_path, MASTER_KEY).key_id == FileKeyProvider(tmp_path, MASTER_KEY).key_id
    assert list(tmp_path.iterdir()) == []


def test_what_is_derived_tells_nothing_about_the_rest(tmp_path: Path) -> None:
    secrets = server_secrets(tmp_path, MASTER_KEY)
    pepper, session_key = secrets
    assert (len(pepper), len(session_key)) == (32, 32)
    assert len({pepper, session_key, base64.b64decode(MASTER_KEY)}) == 3
    assert server_secrets(tmp_path, MASTER_KEY) == secrets
    assert repr(secrets) == "ServerSecrets()"


def test_what_is_derived_never_changes() -> None:
    """A new version must read what an old one has stored; these values are the promise."""
    pepper, session_key = server_secrets(Path("unused"), MASTER_KEY)
    assert pepper.hex()[:16] == "b45aa79569606c8b"
    assert session_key.hex()[:16] == "faec139c5982594c"
    assert FileKeyProvider(Path("unused"), MASTER_KEY).key_id == "fc1123314dfcd531"


@given(st.binary(min_size=1, max_size=64), st.binary(max_size=64))
async def test_what_is_wrapped_unwraps_in_its_place_only(data_key: bytes, context: bytes) -> None:
    keys = FileKeyProvider(Path("unused"), MASTER_KEY)
    wrapped = await keys.wrap(data_key, context=context)
    assert await keys.unwrap(wrapped, key_id=keys.key_id, context=context) == data_key
    assert await keys.wrap(data_key, context=context) != wrapped
    assert data_key not in wrapped or len(data_key) < 4
    for changed, place in (
        (wrapped, context + b"x"),
        (wrapped[:-1] + bytes([wrapped[-1] ^ 1]), context),
        (wrapped[:20], context),
        (b"", context),
    ):
        with pytest.raises(ValueError, match=r"does not belong here|Nonce"):
            await keys.unwrap(changed, key_id=keys.key_id, context=place)


async def test_another_master_key_is_named(tmp_path: Path) -> None:
    ours, theirs = FileKeyProvider(tmp_path, MASTER_KEY), FileKeyProvider(tmp_path)
    assert ours.key_id != theirs.key_id
    wrapped = await theirs.wrap(b"k" * 32, context=b"c")
    with pytest.raises(ValueError, match=theirs.key_id):
        await ours.unwrap(wrapped, key_id=theirs.key_id, context=b"c")


async def test_t60_a_sealed_secret_opens_in_its_own_row_only(tmp_path: Path) -> None:
    keys = FileKeyProvider(tmp_path)
    sealed = await seal(keys, "registry password", context=b"org-1|registries|reg-1")
    assert await unseal(keys, sealed, context=b"org-1|registries|reg-1") == "registry password"
    for context in (b"org-2|registries|reg-1", b"org-1|registries|reg-2"):
        with pytest.raises(ValueError, match="does not belong here"):
            await unseal(keys, sealed, context=context)
