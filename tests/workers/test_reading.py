from __future__ import annotations

import asyncio
import gzip
import json
import sys
from pathlib import Path

import pytest

from schema.dependencies.records import Inventory, PackageType
from schema.scans.failures import FailureCode, ScanFailure
from schema.vulnerabilities.records import Severity
from tests.factories import images
from tests.processes import until
from tests.tools import fenced
from workers import reading
from workers.analysis import FAILED
from workers.examination import Questions
from workers.oci.layout import read_image
from workers.oci.limits import ImageLimits
from workers.reading import examine_image, unpack_archive
from workers.sandbox import MIB, SandboxLimits, run

LIMITS = ImageLimits()
SANDBOX = SandboxLimits(wall_seconds=60)
RELEASE = b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
STATUS = b"Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nSource: openssl\nVersion: 3.0.9-1\n"
ZEROS = gzip.compress(bytes(64 * MIB), compresslevel=1, mtime=0)  # one member; a file of many is a stream of all


def shop() -> images.Image:
    return images.image(
        images.layer({"etc/os-release": RELEASE, "var/lib/dpkg/status": STATUS}, created_by="ADD rootfs"),
        images.layer({"node_modules/lodash/package.json": b'{"name":"lodash","version":"4.17.11","license":"MIT"}'}),
    )


def bomb(members: int) -> images.Image:
    """A layer of zeros: 64 MiB for each member, a thousand times what they take."""
    honest = images.layer({})
    return images.image(
        images.Layer(tar=honest.tar, blob=ZEROS * members, compression="gzip", created_by="RUN dd if=/dev/zero")
    )


def fake_child(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(reading, "_COMMAND", (sys.executable, "-c", code))


async def inventory_image(layout: Path, *, sandbox: SandboxLimits = SANDBOX) -> Inventory:
    return (await examine_image(layout, Questions(), limits=LIMITS, sandbox=sandbox)).inventory


async def failure_of(layout: Path, *, sandbox: SandboxLimits = SANDBOX) -> ScanFailure:
    with pytest.raises(ScanFailure) as caught:
        await inventory_image(layout, sandbox=sandbox)
    return caught.value


async def test_an_inventory_from_the_child(tmp_path: Path) -> None:
    image = shop()
    inventory = await inventory_image(images.write_layout(tmp_path, image))
    assert inventory.operating_system is not None
    assert inventory.operating_system.ecosystem == "Debian:12"
    deb, npm = inventory.packages
    assert (deb.type, deb.name, deb.source_name, deb.layer_digest) == (
        PackageType.DEB,
        "libssl3",
        "openssl",
        image.layers[0].diff_id,
    )
    assert (npm.type, npm.licenses, npm.layer_index) == (PackageType.NPM, ("MIT",), 1)
    assert [(layer.diff_id, layer.created_by) for layer in inventory.layers] == [
        (image.layers[0].diff_id, "ADD rootfs"),
        (image.layers[1].diff_id, ""),
    ]
    assert isinstance(inventory.packages, tuple)


async def test_an_archive_becomes_a_layout(tmp_path: Path) -> None:
    image = shop()
    archive = images.write_archive(tmp_path / "shop.tar", images.docker_files({"shop:1": image}), compression="gzip")
    unpacked = await unpack_archive(archive, tmp_path / "image", platform=None, limits=LIMITS, sandbox=SANDBOX)
    assert unpacked.layout == tmp_path / "image"
    assert unpacked.names == ("shop:1",)
    assert [layer.diff_id for layer in unpacked.layers] == [layer.diff_id for layer in image.layers]
    assert read_image(tmp_path / "image", LIMITS).digest == unpacked.digest
    inventory = await inventory_image(unpacked.layout)
    assert [package.name for package in inventory.packages] == ["libssl3", "lodash"]


async def test_paths_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images.write_layout(tmp_path / "source", shop())
    image = await unpack_archive(Path("source"), Path("copy"), platform=None, limits=LIMITS, sandbox=SANDBOX)
    inventory = await inventory_image(image.layout)
    assert len(inventory.packages) == 2


async def test_the_image_that_was_asked_for(tmp_path: Path) -> None:
    wanted, other = shop(), images.image(images.layer({"other": b""}), platform="linux/arm64")
    source = images.write_layout(tmp_path / "source", {"shop:1": wanted, "other:1": other})

    async def unpack(name: str, *, platform: str | None = None, reference: str | None = None) -> str:
        image = await unpack_archive(
            source, tmp_path / name, platform=platform, reference=reference, limits=LIMITS, sandbox=SANDBOX
        )
        return image.digest

    assert await unpack("by-reference", reference="other:1") == other.digest
    with pytest.raises(ScanFailure) as caught:
        await unpack("none", reference="third:1")
    assert caught.value.code is FailureCode.IMAGE_NOT_FOUND


async def test_a_failure_keeps_its_code_and_words(tmp_path: Path) -> None:
    failure = await failure_of(tmp_path)
    assert failure.code is FailureCode.IMAGE_INVALID
    assert "index.json" in failure.message
    assert str(tmp_path) not in failure.message


async def test_t50_a_gzip_bomb_is_stopped_early_and_cheaply(tmp_path: Path) -> None:
    layout = images.write_layout(tmp_path, bomb(160))  # 10 GiB
    failure = await failure_of(layout)
    assert (failure.code, failure.message) == (
        FailureCode.LIMIT_EXCEEDED,
        "A compressed stream unpacks to more than 200 times its size, the most that is read",
    )
    asked = {"layout": str(layout), "questions": {"configuration": True, "efficiency": True}}
    assert await peak_memory({"examine": asked}, tmp_path) < 256 * MIB


async def test_t50_a_bomb_of_an_archive_is_stopped_early_and_cheaply(tmp_path: Path) -> None:
    archive = tmp_path / "bomb.tar.gz"
    archive.write_bytes(ZEROS * 160)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(ScanFailure) as caught:
        await unpack_archive(archive, scratch / "image", platform=None, limits=LIMITS, sandbox=SANDBOX)
    assert caught.value.code is FailureCode.LIMIT_EXCEEDED
    asked = {"source": str(archive), "destination": str(scratch / "again"), "platform": None, "reference": None}
    assert await peak_memory({"unpack": asked}, scratch) < 256 * MIB
    assert names(tmp_path) == {"bomb.tar.gz", "scratch"}


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def peak_memory(request: dict[str, object], scratch: Path) -> int:
    """Bytes of memory the child takes at most, for a request that fails for a limit."""
    code = """
import re, sys
from workers.analysis import main
code = main()
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1], file=sys.stderr)
sys.exit(code)
"""
    limits = {name: getattr(LIMITS, name) for name in LIMITS.__slots__}
    completed = await run(
        [sys.executable, "-P", "-S", "-c", code],
        limits=SANDBOX,
        cwd=scratch,
        env=reading._environment(),
        stdin=json.dumps({**request, "limits": limits}).encode(),
    )
    assert completed.exit_code == FAILED
    assert json.loads(completed.stdout)["code"] == "LIMIT_EXCEEDED"
    return int(completed.stderr) * 1024


async def test_memory_is_limited(tmp_path: Path) -> None:
    status = b"Package: a\n" * (8 * MIB)
    layout = images.write_layout(tmp_path, images.image(images.layer({"var/lib/dpkg/status": status})))
    failure = await failure_of(layout, sandbox=SandboxLimits(memory_bytes=100 * MIB, wall_seconds=60))
    assert (failure.code, failure.message) == (
        FailureCode.LIMIT_EXCEEDED,
        "Reading the image takes more memory than is allowed",
    )


async def test_time_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_child(monkeypatch, "import time; time.sleep(600)")
    failure = await failure_of(tmp_path, sandbox=SandboxLimits(wall_seconds=1))
    assert (failure.code, failure.message) == (
        FailureCode.LIMIT_EXCEEDED,
        "Reading the image was stopped after 1 seconds",
    )


async def test_a_crash_costs_one_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_child(monkeypatch, "import os; os.abort()")
    failure = await failure_of(tmp_path)
    assert failure.code is FailureCode.LIMIT_EXCEEDED
    assert "signal 6" in failure.message


async def test_a_defect_is_no_statement_about_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_child(monkeypatch, "raise LookupError('ours')")
    with pytest.raises(RuntimeError, match=r"exit code 1: (.|\n)*LookupError: ours"):
        await inventory_image(tmp_path)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("", 0),
        ("{", 0),
        ("null", 0),
        ('{"inventory": {"operating_system": null, "packages": [{"name": "a"}], "layers": [], "warnings": []}}', 0),
        ('{"inventory": {"operating_system": null, "packages": [], "layers": [], "warnings": [1]}}', 0),
        ('{"code": "ALL_GOOD", "message": "nothing to see"}', FAILED),
        ('{"code": "IMAGE_INVALID"}', FAILED),
    ],
)
async def test_an_answer_that_is_none_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    fake_child(monkeypatch, f"import sys; print({answer!r}); sys.exit({code})")
    with pytest.raises(RuntimeError, match="an answer that is none"):
        await inventory_image(tmp_path)


async def test_the_child_knows_no_secret_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARBORGUARD_MASTER_KEY", "canary")
    fake_child(monkeypatch, "import os, sys; sys.exit(str(sorted(os.environ)))")
    with pytest.raises(RuntimeError) as caught:
        await inventory_image(tmp_path)
    assert "PYTHONPATH" in str(caught.value)
    assert "HARBORGUARD" not in str(caught.value)


async def test_no_module_is_taken_from_beside_the_image(tmp_path: Path) -> None:
    layout = images.write_layout(tmp_path, shop())
    for name in ("orjson.py", "workers.py", "sitecustomize.py"):
        (layout / name).write_text("raise SystemExit('taken')")
    inventory = await inventory_image(layout)
    assert len(inventory.packages) == 2


def files_below(directory: Path) -> list[str]:
    return [str(path) for path in directory.rglob("*")]


async def test_cancellation_ends_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_child(monkeypatch, "import pathlib, time; pathlib.Path('started').touch(); time.sleep(600)")
    task = asyncio.create_task(inventory_image(tmp_path / "layout"))

    async def started() -> bool:
        return any(path.endswith("/started") for path in files_below(tmp_path))

    await until(started)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files_below(tmp_path) == [], "the child's directory is gone"


@fenced
@pytest.mark.parametrize("step", ["examine", "unpack"])
async def test_the_child_writes_in_its_own_directory_only(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, destination = tmp_path / "layout", tmp_path / "unpacking" / "image"
    layout.mkdir()
    destination.parent.mkdir()
    fake_child(monkeypatch, f"import pathlib; pathlib.Path('own').touch(); pathlib.Path({str(layout)!r}, 'x').touch()")
    with pytest.raises(RuntimeError, match=r"Permission denied: .*layout/x"):
        await (
            inventory_image(layout)
            if step == "examine"
            else unpack_archive(layout, destination, platform=None, limits=LIMITS, sandbox=SANDBOX)
        )


async def test_scans_run_side_by_side(tmp_path: Path) -> None:
    layouts = [images.write_layout(tmp_path / str(number), shop()) for number in range(3)]
    inventories = await asyncio.gather(*(inventory_image(each) for each in layouts))
    assert [len(inventory.packages) for inventory in inventories] == [2, 2, 2]


async def test_what_else_is_asked_comes_from_the_child_too(tmp_path: Path) -> None:
    layout = images.write_layout(tmp_path, shop())
    questions = Questions(configuration=True, efficiency=True, tag="latest")
    examination = await examine_image(layout, questions, limits=LIMITS, sandbox=SANDBOX)
    assert examination.configuration is not None
    assert examination.efficiency is not None
    failed = {each.check_id: each for each in examination.configuration.misconfigurations}
    assert failed["DKL-DI-0006"].severity is Severity.MEDIUM
    assert [layer.added for layer in examination.efficiency.layers] == [2, 1]


async def test_nothing_is_answered_that_was_not_asked(tmp_path: Path) -> None:
    layout = images.write_layout(tmp_path, shop())
    examination = await examine_image(layout, Questions(), limits=LIMITS, sandbox=SANDBOX)
    assert (examination.configuration, examination.efficiency) == (None, None)
