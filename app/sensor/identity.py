"""Who a sensor is, from one start to the next: a name of its own, and the key that credentials are sealed to."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey


@dataclass(frozen=True, slots=True)
class Identity:
    id: str
    key: X25519PrivateKey


@contextmanager
def own_identity(directory: Path) -> Iterator[Identity]:
    """The identity kept in the directory, made on first use. OSError while another process has it.

    The server takes the jobs away from a sensor that starts anew, so two must never go by one identity.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(directory / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(
                f"another sensor runs with {directory}; give this one a HARBORGUARD_DATA_DIR of its own"
            ) from None
        name = _kept(directory / "id", lambda: secrets.token_hex(16).encode())
        key = _kept(directory / "key", lambda: X25519PrivateKey.generate().private_bytes_raw())
        yield Identity(name.decode(), X25519PrivateKey.from_private_bytes(key))
    finally:
        os.close(lock)


def _kept(path: Path, make: Callable[[], bytes]) -> bytes:
    if not path.exists():
        part = path.with_suffix(".part")
        part.touch(mode=0o600)
        part.write_bytes(make())
        part.rename(path)
    return path.read_bytes()
