"""The master key, and everything that is derived from it.

One secret of 32 bytes is the root of the server: `HARBORGUARD_MASTER_KEY`, or a key file made on first start. HKDF
(RFC 5869) with a purpose of its own derives each key from it, so none tells anything about another. The purposes are
append-only: a changed one would orphan what its key protects.

Whoever has the database but not the master key can neither open a sealed secret nor search for a token nor sign a
session. Whoever loses the master key keeps scans and findings, and has to enter secrets and make tokens anew.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_FILE = "master.key"
KEY_BYTES = 32
_KEY_ID_BYTES = 8
_NONCE_BYTES = 12
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MAX_FILE_BYTES = 1024


class MasterKeyError(Exception):
    """The master key cannot be used; the message says what to do about it."""


class ServerSecrets(NamedTuple):
    """Keys of the whole server, 32 bytes each: the pepper of `TokenMint` and the key of `SessionSigner`."""

    pepper: bytes
    session_key: bytes

    def __repr__(self) -> str:
        return "ServerSecrets()"


class FileKeyProvider:
    """Wraps data keys with AES-256-GCM under a key derived from the master key; the context is associated data."""

    def __init__(self, data_dir: Path, master_key: str | None = None) -> None:
        """`master_key` (base64) wins over the key file in `data_dir`. Raises MasterKeyError."""
        master = load_master_key(data_dir, master_key)
        self._cipher = AESGCM(_derive(master, "wrap"))
        self._key_id = _derive(master, "key-id", length=_KEY_ID_BYTES).hex()

    @property
    def key_id(self) -> str:
        """16 hex digits that name the master key and tell nothing about it."""
        return self._key_id

    async def wrap(self, data_key: bytes, *, context: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data_key, context)

    async def unwrap(self, wrapped: bytes, *, key_id: str, context: bytes) -> bytes:
        """Raises ValueError when the data key was wrapped by another master key, for another context, or changed."""
        if key_id != self._key_id:
            msg = f"the secret was sealed under the master key {key_id}, this server has {self._key_id}"
            raise ValueError(msg)
        try:
            return self._cipher.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context)
        except InvalidTag:
            msg = "the wrapped key does not belong here or was changed"
            raise ValueError(msg) from None


def server_secrets(data_dir: Path, master_key: str | None = None) -> ServerSecrets:
    """Derived from the same master key as `FileKeyProvider`'s. Raises MasterKeyError."""
    master = load_master_key(data_dir, master_key)
    return ServerSecrets(pepper=_derive(master, "token-pepper"), session_key=_derive(master, "session-jwt"))


def load_master_key(data_dir: Path, master_key: str | None = None) -> bytes:
    """The given key, else the key file's, which is made when it is missing. Raises MasterKeyError."""
    if master_key is not None:
        return _decode(master_key, "HARBORGUARD_MASTER_KEY")
    path = data_dir / KEY_FILE
    try:
        if not path.exists():
            _create(path)
        return _decode(_read(path), str(path))
    except OSError as error:
        raise MasterKeyError(f"The key file {path} cannot be used: {error.strerror}") from error


def _create(path: Path) -> None:
    """Appears under its name only when it is whole; of two processes that start at once, one makes the key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    # Everything sealed from now on depends on the file being there after a power cut.
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY)
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if mode & _OTHERS:
            raise MasterKeyError(
                f"The key file {path} is open to others (mode {stat.S_IMODE(mode):04o}); run: chmod 600 {path}"
            )
        return file.read(_MAX_FILE_BYTES).decode("ascii", errors="replace")


def _decode(text: str, source: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise MasterKeyError(
            f"{source} must hold {KEY_BYTES} bytes in base64; make a key with: openssl rand -base64 32"
        )
    return key


def _derive(master: bytes, purpose: str, *, length: int = KEY_BYTES) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=f"harborguard/v1/{purpose}".encode()).derive(master)
