"""B5: the packages of a real image, ours against Syft and Trivy on the same files, in turn, in one run.

The image is a Debian that mmdebstrap installed, with Python's and Node's packages of pip and npm; its layers are gzip, as
registries serve them. Ours is the child process of a scan, all of it: starting, verifying, reading, answering. Each run of
a tool gets a home and a cache of its own, and the kernel is asked to forget the image before each. Syft lists packages in
its own form; Trivy in CycloneDX, for which it looks for packages alone, and leaves out Java archives, which it reads with a
database only that is not here. Memory and processor time are of whole processes.
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.results import Result
from schema.scans.models import Engine
from tests.factories.distributions import (
    MODULES,
    PACKAGES,
    WHEELS,
    Distributions,
    UnavailableError,
)
from tests.factories.images import write_layout
from tests.tools import REAL_TOOLS
from workers.examination import Questions
from workers.oci.limits import ImageLimits
from workers.reading import examine_image
from workers.sandbox import SandboxLimits

ROUNDS = 5
SYFT = ("scan", "--quiet", "--from", "oci-dir", "--output", "syft-json")
TRIVY = ("image", "--quiet", "--format", "cyclonedx", "--offline-scan", "--skip-version-check", "--disable-telemetry")
NO_JAVA = ("--skip-java-db-update", "--skip-files=**/*.jar")
SYFT_TARGET, TRIVY_TARGET = 0.3, 1.2  # of their time
FULL_PACKAGES = (*PACKAGES, "ca-certificates", "curl", "git", "nodejs", "openssh-client", "python3-pip")
FULL_WHEELS = (*WHEELS, "flask==3.0.3", "numpy==1.26.4", "pandas==2.2.2", "sqlalchemy==2.0.30")
FULL_MODULES = (*MODULES, "typescript@5.4.5", "webpack@5.91.0")


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    list_packages: Callable[[Path, Path], None]  # of a layout, in an empty directory


def run(size: str) -> list[Result]:
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        made = scratch / "made"
        made.mkdir()
        workshop = Distributions(made) if size == "small" else full(made)
        try:
            image = workshop.debian()
        except UnavailableError as problem:
            return [Result("B5", "reading packages", f"not measured: {problem}", "-")]
        layout = write_layout(scratch / "layout", image)
        unpacked = sum(len(layer.tar) for layer in image.layers) / 1e6
        del image
        return _compare(layout, scratch, f"{unpacked:.0f} MB in layers", ROUNDS)


def full(scratch: Path) -> Distributions:
    return Distributions(scratch, packages=FULL_PACKAGES, wheels=FULL_WHEELS, modules=FULL_MODULES)


def _compare(layout: Path, scratch: Path, what: str, rounds: int) -> list[Result]:
    contenders = (Contender("native", _natively), Contender("Syft", _syft), Contender("Trivy", _trivy))
    seconds: dict[str, list[float]] = {each.name: [] for each in contenders}
    worked: dict[str, list[float]] = {each.name: [] for each in contenders}
    for number in range(rounds):
        for each in contenders:
            own = scratch / f"{each.name}-{number}"
            own.mkdir()
            _forget(layout)
            before, began = _processor_seconds(), time.perf_counter()
            each.list_packages(layout, own)
            seconds[each.name].append(time.perf_counter() - began)
            worked[each.name].append(_processor_seconds() - before)
    results = []
    for each in contenders:
        target = {"Syft": f"<= {SYFT_TARGET} x", "Trivy": f"<= {TRIVY_TARGET} x"}.get(each.name, "-")
        wall, work = statistics.median(seconds[each.name]), statistics.median(worked[each.name])
        ratio = statistics.median(map(float.__truediv__, seconds["native"], seconds[each.name]))
        measured = f"{wall:.2f} s, {work:.2f} s of processors"
        measured += f"; ours takes {ratio:.2f} x" if each.name != "native" else ""
        results.append(Result("B5", f"packages of an image of {what}: {each.name}", measured, target))
    return results


def _natively(layout: Path, _own: Path) -> None:
    examined = examine_image(layout, Questions(), limits=ImageLimits(), sandbox=SandboxLimits())
    if not asyncio.run(examined).inventory.packages:
        raise RuntimeError("Nothing was found")


def _syft(layout: Path, own: Path) -> None:
    _tool(own, REAL_TOOLS[Engine.SYFT], *SYFT, str(layout))


def _trivy(layout: Path, own: Path) -> None:
    _tool(own, REAL_TOOLS[Engine.TRIVY], *TRIVY, *NO_JAVA, "--cache-dir", str(own / "cache"), "--input", str(layout))


def _tool(own: Path, *command: str) -> None:
    home = {"HOME": str(own), "TMPDIR": str(own), "SYFT_CHECK_FOR_APP_UPDATE": "false"}
    subprocess.run(command, check=True, capture_output=True, env=home)


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _forget(layout: Path) -> None:
    """Asks the kernel to drop the files from its cache."""
    for path in layout.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)
