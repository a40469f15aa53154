"""Small wheels with the names and versions of the real ones, so that no test needs the package index."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from app.demo.description import Description, PinnedWheel
from app.demo.wheels import Fetch


def wheel_bytes(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def small_wheel(name: str, version: str) -> bytes:
    """An installable wheel of one module. The dist-info directory is named as in the wheel's file name."""
    module = name.lower().replace("-", "_")
    information = f"{name.replace('-', '_')}-{version}.dist-info"
    return wheel_bytes(
        {
            f"{module}/__init__.py": b"",
            f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
            f"{information}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{information}/RECORD": b"",
        }
    )


def pin(name: str, version: str, content: bytes) -> PinnedWheel:
    digest = hashlib.sha256(content).hexdigest()
    return PinnedWheel(name=name, version=version, file=f"{name}-{version}-py3-none-any.whl", sha256=digest)


def with_small_wheels(description: Description) -> tuple[Description, Fetch]:
    """The description with every wheel replaced by a small one of the same name and version, and their source."""
    contents = {wheel.name: small_wheel(wheel.name, wheel.version) for wheel in description.wheels}
    pinned = [
        replace(pin(wheel.name, wheel.version, contents[wheel.name]), uninstalled=wheel.uninstalled)
        for wheel in description.wheels
    ]

    def fetch(wheels: Sequence[PinnedWheel], directory: Path) -> None:
        for wheel in wheels:
            (directory / wheel.file).write_bytes(contents[wheel.name])

    return replace(description, wheels=tuple(pinned)), fetch
