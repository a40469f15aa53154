"""Names of variables and labels that say: what I hold is a secret."""

from __future__ import annotations

import re

# Parts of a name, between what is neither letter nor digit. Dockle takes its words anywhere in a name, which also finds
# BYPASS, KEYBOARD and ACCESS_LOG.
_WORDS = frozenset(
    {
        "pass",
        "passwd",
        "password",
        "passphrase",
        "pwd",
        "secret",
        "secrets",
        "token",
        "credential",
        "credentials",
        "apikey",
    }
)
_ENDINGS = ("password", "passwd", "passphrase", "secret", "token", "apikey", "accesskey", "secretkey", "privatekey")
# A key is one only if nothing says that it is public or a name; these are the words in front of it.
_KEY = "key"
_NO_KEYS = frozenset(
    {"gpg", "public", "pub", "signing", "host", "map", "sort", "cache", "primary", "foreign", "partition"}
)
_NO_SECRETS = (
    "file",
    "path",
    "dir",
    "url",
    "uri",
    "name",
    "user",
    "length",
    "size",
    "ttl",
    "expiry",
    "timeout",
    "type",
)
_PARTS = re.compile(r"[A-Za-z0-9]+")
_LONGEST = 200  # characters of a name that are looked at
_VALUE_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "none", "0", "1"})


def is_secret_name(name: str) -> bool:
    """Whether a variable of that name is meant to hold a secret itself, not the place of one (DB_PASSWORD_FILE)."""
    parts = [part.lower() for part in _PARTS.findall(name[:_LONGEST])]
    if not parts or parts[-1] in _NO_SECRETS:
        return False
    if parts[-1] in {"keys", _KEY} or (_KEY in parts and parts[-1] == "id"):
        return not _NO_KEYS.intersection(parts) and (len(parts) > 1 or parts[-1] == _KEY)
    # PWD alone is the shell's working directory.
    if len(parts) == 1 and parts[0] == "pwd":
        return False
    return any(part in _WORDS or part.endswith(_ENDINGS) for part in parts)


def is_secret_value(value: str) -> bool:
    """Whether a value can be a secret: not empty, not a switch, not a reference to another variable, not a path."""
    bare = value.strip().strip("\"'")
    return bool(bare) and bare.lower() not in _VALUE_WORDS and not bare.startswith(("$", "/", "./", "<", "{{"))
