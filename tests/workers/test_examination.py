"""One pass over real layers: files, accounts and secrets of the merged image, and of what later layers hide."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from schema.scans.evidence import ConfigurationEvidence, SecretRecord
from schema.scans.failures import FailureCode, ScanFailure
from schema.vulnerabilities.records import Severity
from tests.factories.images import (
    File,
    Files,
    Hardlink,
    Image,
    Layer,
    Opaque,
    Symlink,
    Whiteout,
    image,
    layer,
    write_layout,
)
from tests.workers.secrets.samples import ALNUM, SAMPLES, made_up, secret_lines, text
from workers import survey
from workers.examination import Examination, Questions, examine
from workers.oci.limits import MIB, ImageLimits
from workers.secrets import exposure
from workers.secrets.search import FILE_BYTES

LIMITS = ImageLimits()
TOKEN = "ghp_" + made_up(ALNUM, 36)
Judge = Callable[..., ConfigurationEvidence]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    def judged(
        *layers: Files | Layer, built: Image | None = None, limits: ImageLimits = LIMITS
    ) -> ConfigurationEvidence:
        made = [each if isinstance(each, Layer) else layer(each) for each in layers]
        layout = write_layout(tmp_path / "layout", built or image(*made))
        evidence = examine(layout, Questions(configuration=True), limits).configuration
        assert evidence is not None
        return evidence

    return judged


def paths(evidence: ConfigurationEvidence, check: str) -> list[str]:
    return [record.path for record in evidence.misconfigurations if record.check_id == check]


def places(evidence: ConfigurationEvidence) -> list[tuple[str, int, bool]]:
    return [(each.path, each.layer_index, each.deleted) for each in evidence.secrets]


class TestFiles:
    def test_files_are_those_of_the_merged_image(self, judge: Judge) -> None:
        evidence = judge(
            {"bin/su": File(b"1", mode=0o4755), "bin/ping": File(b"2", mode=0o4755), "bin/at": File(b"3", mode=0o6755)},
            {"bin/su": Whiteout(), "bin/ping": File(b"2", mode=0o755), "bin/again": Hardlink("bin/at")},
        )
        assert paths(evidence, "CIS-DI-0008") == ["bin/again", "bin/at"]
        again, first = (each for each in evidence.misconfigurations if each.check_id == "CIS-DI-0008")
        assert (again.layer_index, first.layer_index) == (1, 0)

    def test_directories_of_clutter(self, judge: Judge) -> None:
        evidence = judge(
            {"app/.git/HEAD": b"1", "tmp/x": b"", "var/tmp/d/x": b"", "a/.npm": b""}, {"tmp/x": Whiteout()}
        )
        assert paths(evidence, "DKL-LI-0003") == ["app/.git"]

    def test_accounts_are_those_of_the_highest_layer(self, judge: Judge) -> None:
        evidence = judge(
            {"etc/shadow": b"root::1::::::\n", "etc/passwd": b"a:x:1:1::/:\n"},
            {"etc/shadow": b"root:*:1::::::\nbob::1::::::\n"},
        )
        [record] = [each for each in evidence.misconfigurations if each.check_id == "DKL-LI-0001"]
        assert (record.evidence, record.layer_index) == (("The account bob has an empty password",), 1)

    def test_files_of_sudo(self, judge: Judge) -> None:
        rule = b"app ALL=(ALL) NOPASSWD: ALL\n"
        evidence = judge(
            {"etc/sudoers.d/app": rule, "etc/sudoers.d/x.bak": rule, "etc/sudoers": Symlink("sudoers.d/app")}
        )
        assert paths(evidence, "HG-LI-0001") == ["etc/sudoers", "etc/sudoers.d/app"]

    def test_deleted_accounts_decide_nothing(self, judge: Judge) -> None:
        evidence = judge({"etc/passwd": b"a::1:1::/:\n"}, {"etc/passwd": Whiteout()})
        assert "DKL-LI-0001" not in {check.check_id for check in evidence.checks}

    def test_lists_of_apt_are_looked_for_in_the_layer(self, judge: Judge) -> None:
        command = "RUN /bin/sh -c apt-get update && apt-get install -y curl # buildkit"
        evidence = judge(
            layer({}, created_by="ADD"),
            layer({"var/lib/apt/lists/deb.example_dists_Release": b"x"}, created_by=command),
            layer({"var/lib/apt/lists/lock": b"", "usr/bin/curl": b"x"}, created_by=command),
        )
        failed = [each.layer_index for each in evidence.misconfigurations if each.check_id == "DKL-DI-0005"]
        assert failed == [1]


class TestSecrets:
    def test_a_secret_knows_its_place(self, judge: Judge) -> None:
        base = layer({"app/run.sh": f"#!/bin/sh\nexport T={TOKEN}\n".encode()})
        assert judge(base).secrets == (
            SecretRecord(
                rule="github-token",
                title="GitHub token",
                severity=Severity.CRITICAL,
                path="app/run.sh",
                line=2,
                masked=f"ghp_********{TOKEN[-4:]}",
                layer_digest=base.diff_id,
                layer_index=0,
            ),
        )

    @pytest.mark.parametrize(
        "above",
        [
            {"app/key": Whiteout()},
            {"app": Whiteout()},
            {"app": Opaque()},
            {"app/key": b"replaced"},
            {"app": b"a file now"},
        ],
    )
    def test_a_deleted_secret_is_still_in_the_image(self, judge: Judge, above: Files) -> None:
        assert places(judge({"app/key": TOKEN.encode()}, above)) == [("app/key", 0, True)]

    def test_a_secret_that_was_copied_up_is_there_once_and_in_the_lowest_layer(self, judge: Judge) -> None:
        below: Files = {"app/key": TOKEN.encode()}
        assert places(judge(below, {"app/key": File(TOKEN.encode(), mode=0o600)})) == [("app/key", 0, False)]
        assert places(judge(below, {"app/key": Whiteout()}, below)) == [("app/key", 0, False)]

    def test_a_hard_link_keeps_a_secret_alive(self, judge: Judge) -> None:
        evidence = judge({"a": TOKEN.encode(), "b": Hardlink("a")}, {"a": Whiteout()})
        assert places(evidence) == [("a", 0, False)]

    def test_binary_files_are_not_searched(self, judge: Judge) -> None:
        assert judge({"app/tool": b"\x7fELF\0" + TOKEN.encode()}).secrets == ()

    def test_a_file_is_searched_up_to_a_bound(self, judge: Judge) -> None:
        filler = b"text\n" * (FILE_BYTES // 5)
        assert places(judge({"a": TOKEN.encode() + filler, "b": filler + b"\n\n" + TOKEN.encode()})) == [
            ("a", 0, False)
        ]

    def test_a_file_the_inventory_reads_is_searched_too(self, judge: Judge) -> None:
        document = json.dumps({"name": "shop", "version": "1.0.0", "token": TOKEN}).encode()
        assert places(judge({"app/node_modules/shop/package.json": document})) == [
            ("app/node_modules/shop/package.json", 0, False)
        ]

    def test_secrets_of_the_config(self, judge: Judge) -> None:
        other, third = ("ghp_" + made_up(ALNUM, 36) for _ in range(2))
        built = image(
            layer({}, created_by=f"RUN |1 T={TOKEN} /bin/sh -c git clone https://bob:{third}@git.example.com/x"),
            config={"Env": [f"GITHUB={TOKEN}"], "Labels": {"built": other}, "Cmd": ["run", "--key", other]},
        )
        assert [
            (each.rule, each.place, each.path, each.line, each.layer_index) for each in judge(built=built).secrets
        ] == [
            ("github-token", "ENV GITHUB", "", None, -1),
            ("github-token", "LABEL built", "", None, -1),
            ("github-token", "history step 1", "", None, 0),
        ]

    def test_lists_are_bounded_and_say_so(self, judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(exposure, "RECORDS", 2)
        monkeypatch.setattr(survey, "LAYER_SIGHTINGS", 3)
        files = {f"f{number}": b"ghp_" + made_up(ALNUM, 36).encode() for number in range(5)}
        evidence = judge(files)
        assert len(evidence.secrets) == 2
        assert evidence.warnings == ("The image holds more secrets than the 2 that are listed",)

    def test_sightings_count_against_the_memory_an_image_may_take(self, judge: Judge) -> None:
        files = {f"f{number}": b"ghp_" + made_up(ALNUM, 36).encode() for number in range(200)}
        with pytest.raises(ScanFailure) as caught:
            judge(files, limits=ImageLimits(memory_bytes=100_000))
        assert caught.value.code is FailureCode.LIMIT_EXCEEDED


def canary_image() -> tuple[Image, list[str]]:
    """Every kind of secret, everywhere: in a file, a variable, a label, a command and a step; and what must not be seen."""
    files = {f"srv/{number}/{path}": text(rule) for number, (rule, (path, *_)) in enumerate(SAMPLES.items())}
    raws = [text(rule).decode() for rule in SAMPLES if SAMPLES[rule][0].startswith(("a", "app"))]
    built = image(
        *(layer(files, created_by=f"RUN sudo apt-get update {raw}") for raw in raws),
        layer({"srv": Whiteout()}, created_by="RUN DB_PASSWORD=canary-hunter2 ./run"),
        config={
            "Env": [*(f"V{number}={raw}" for number, raw in enumerate(raws)), "DB_PASSWORD=canary-hunter3"],
            "Labels": {f"l{number}": raw for number, raw in enumerate(raws)} | {"my.token": "canary-hunter4"},
            "Cmd": raws,
        },
    )
    return built, ["canary-hunter", *(line for rule in SAMPLES for line in secret_lines(rule))]


def test_t50_no_secret_is_in_any_answer(tmp_path: Path) -> None:
    built, canaries = canary_image()
    layout = write_layout(tmp_path, built)
    examination: Examination = examine(layout, Questions(configuration=True, efficiency=True, tag="1"), LIMITS)
    assert examination.configuration is not None
    assert {each.rule for each in examination.configuration.secrets} == set(SAMPLES)
    answer = orjson.dumps(examination).decode()
    assert [canary for canary in canaries if canary in answer or canary in repr(examination)] == []


def test_looking_on_costs_no_copy_of_a_large_file(judge: Judge) -> None:
    """The budget of contents is far below what is searched."""
    limits = ImageLimits(memory_bytes=MIB)
    assert judge({"log": b"line of text\n" * 400_000}, limits=limits).secrets == ()
