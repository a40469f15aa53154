"""Programs that stand where an engine's tool should: some answer, some misbehave in one way each.

They are Python scripts that tell a version and then do what their body says, so they run like the real ones do: confined,
in a process group of their own, with what they were given and nothing else.
"""

from __future__ import annotations

import sys
from pathlib import Path

VERSION = "9.8.7"
_SCRIPT = """#!{python}
import sys
if "--version" in sys.argv:
    print("simulated {version}")
    sys.exit(0)
{body}
"""

HANG = "import time; time.sleep(600)"
STUBBORN = """
import os, pathlib, signal, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        break
print(os.getpid(), flush=True)
time.sleep(600)
"""
FLOOD = """
block = "x" * 65536
while True:
    sys.stdout.write(block)
"""
REFUSE = """
print("something on the way", file=sys.stderr)
print("FATAL\\tcannot open {}/image: \\x1b[31mbroken\\x1b[0m".format(__import__("os").getcwd()), file=sys.stderr)
sys.exit(1)
"""
TRUNCATED = 'print(\'{"artifacts": [{"name": "half\')'
DEEP = 'print("[" * 200_000)'
NOT_AN_OBJECT = "print([1, 2])"
SILENT = ""
GARBAGE = "sys.stdout.buffer.write(bytes(range(256)) * 100)"
ESCAPE = """
import pathlib, json
attempts = {"wrote": [], "refused": []}
for place in sys.argv[0:1]:
    outside = pathlib.Path(place).parent / "touched"
    try:
        outside.write_text("x")
        attempts["wrote"].append(str(outside))
    except OSError:
        attempts["refused"].append(str(outside))
for blob in pathlib.Path("image").rglob("*"):
    if blob.is_file():
        try:
            with blob.open("ab") as file:
                file.write(b"x")
            attempts["wrote"].append(str(blob))
        except OSError:
            attempts["refused"].append(str(blob))
print(json.dumps({"artifacts": [], "attempts": attempts}))
"""
ENVIRONMENT = """
import json, os
secrets = []
for process in [name for name in os.listdir("/proc") if name.isdecimal()]:
    if int(process) == os.getpid():
        continue
    try:
        secrets += [process] if b"CANARY" in open(f"/proc/{process}/environ", "rb").read() else []
    except OSError:
        pass
print(json.dumps({
    "artifacts": [], "environment": dict(os.environ), "arguments": sys.argv, "seen": secrets, "files": os.listdir(),
}))
"""
EMPTY = "print('{\"artifacts\": []}')"


def write_tool(directory: Path, name: str, body: str, *, version: str = VERSION) -> Path:
    """An executable script; a new one of the same name replaces it."""
    directory.mkdir(parents=True, exist_ok=True)
    draft = directory / f".{name}"
    draft.write_text(_SCRIPT.format(python=sys.executable, version=version, body=body))
    draft.chmod(0o755)
    return draft.rename(directory / name)
