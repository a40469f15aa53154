"""Images of real distributions, read by us, Syft, Trivy and Dive: what differs, and that we know why."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from tests.factories.distributions import Distributions, UnavailableError, debs
from tests.factories.images import docker_files, write_archive, write_layout
from tests.workers.inventory.comparison import (
    NOT_TRIVY,
    ONLY_SYFT,
    Listing,
    ask_syft,
    ask_trivy,
    list_natively,
    recall,
    unexplained,
    used,
)
from tests.workers.test_efficiency import ask_dive_about, assert_dives_figures, measure_layout

KINDS = ("debian", "distroless", "multi_stage", "rpm_based", "alpine_like")
LEAST = 0.99  # of what anybody lists


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each kind as a layout and as an archive of Docker's. Made by the first of the processes that run the tests."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    directory, reason = shared / "distributions", shared / "no-distributions"
    with (shared / "distributions.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists() and not reason.exists():
            try:
                make(directory)
            except UnavailableError as problem:
                reason.write_text(str(problem))
    if reason.exists():
        pytest.skip(reason.read_text())
    return directory


def make(directory: Path) -> None:
    (scratch := directory / "scratch").mkdir(parents=True)
    distributions = Distributions(scratch)
    for kind in KINDS:
        image = getattr(distributions, kind)()
        write_layout(directory / kind, image)
        write_archive(directory / f"{kind}.tar", docker_files({f"{kind}:1": image}))


@pytest.mark.parametrize("kind", KINDS)
def test_every_difference_has_a_reason(made: Path, tmp_path: Path, kind: str) -> None:
    inventory = list_natively(made / kind)
    ours = Listing(packages=inventory.packages)
    syft = ask_syft(made / kind, tmp_path / "syft", inventory)
    trivy = ask_trivy(made / kind, tmp_path / "trivy", inventory)

    assert (inventory.unread, inventory.warnings) == ((), ())
    assert len(ours.named()) > 200
    assert recall(ours, [syft, trivy]) >= LEAST
    assert unexplained(syft, ours, ONLY_SYFT) == []
    assert unexplained(ours, syft, {}) == []
    assert unexplained(trivy, ours, {}) == []
    assert unexplained(ours, trivy, NOT_TRIVY) == []
    assert used(syft, ours, ONLY_SYFT) == ONLY_SYFT.keys()
    if kind == "debian":
        assert used(ours, trivy, NOT_TRIVY) == NOT_TRIVY.keys()
    # Programs Syft knows by a text in them are the distribution's, which is listed.
    brought = {path: deb.name for deb in debs(made / "scratch/root") for path in deb.files}
    names = {package.name for package in inventory.packages}
    assert {brought[path] for _, _, _, path in syft.others} <= names


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_measured_as_dive_does(made: Path, tmp_path: Path, kind: str) -> None:
    assert_dives_figures(measure_layout(made / kind), ask_dive_about(made / f"{kind}.tar", tmp_path))
