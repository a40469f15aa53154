"""Each check fails on what it is about, passes on what is right, and says nothing where it cannot know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.scans.evidence import CheckLevel, CheckOutcome, MisconfigurationRecord
from schema.vulnerabilities.records import Severity
from workers.configuration import assessment
from workers.configuration.assessment import RECORDS, assess
from workers.configuration.checks import CHECKS, SEVERITIES, Needs
from workers.configuration.facts import Facts, FileContent, FileFact
from workers.configuration.files import is_notable
from workers.oci.layout import HistoryEntry

BASE = "/bin/sh -c #(nop) ADD file:5d1ba8 in / "
LAYERS = ("sha256:base", "sha256:one", "sha256:two")


def steps(*commands: str, mapped: bool = True) -> tuple[HistoryEntry, ...]:
    """The base image's step, and one layer for each command."""
    return tuple(
        HistoryEntry(created="", created_by=command, comment="", layer_index=number if mapped else None)
        for number, command in enumerate((BASE, *commands))
    )


def failures(facts: Facts) -> dict[str, list[MisconfigurationRecord]]:
    found: dict[str, list[MisconfigurationRecord]] = {}
    for record in assess(facts, LAYERS)[1]:
        found.setdefault(record.check_id, []).append(record)
    return found


def failed_steps(*commands: str, check: str, mapped: bool = True) -> int:
    return len(failures(Facts(config={}, history=steps(*commands, mapped=mapped))).get(check, []))


def of_config(config: Mapping[str, Any], check: str) -> list[str]:
    return [record.evidence[0] for record in failures(Facts(config=config, history=())).get(check, [])]


def of_files(*files: tuple[str, int], check: str) -> list[str]:
    facts = Facts(config={}, history=(), files=tuple(FileFact(path, mode, 1) for path, mode in files))
    return [record.path for record in failures(facts).get(check, [])]


def of_contents(contents: Mapping[str, bytes], check: str) -> list[str]:
    held = {path: FileContent(content, 0) for path, content in contents.items()}
    return [record.evidence[0] for record in failures(Facts(config={}, history=(), contents=held)).get(check, [])]


class TestCatalogue:
    def test_every_published_id_is_there(self) -> None:
        assert [check.id for check in CHECKS if not check.id.startswith("HG-")] == [
            *(f"CIS-DI-{number:04}" for number in range(1, 12)),
            *(f"DKL-DI-{number:04}" for number in range(1, 7)),
            *(f"DKL-LI-{number:04}" for number in range(1, 4)),
        ]

    def test_levels_are_dockles(self) -> None:
        """Dockle's own defaults (`pkg/types/checkpoint.go`)."""
        levels = {check.id: check.level.value for check in CHECKS}
        fatal = "CIS-DI-0007 CIS-DI-0009 CIS-DI-0010 DKL-DI-0001 DKL-DI-0002 DKL-DI-0003 DKL-DI-0004 DKL-DI-0005"
        assert {levels[check] for check in [*fatal.split(), "DKL-LI-0001", "DKL-LI-0002"]} == {"FATAL"}
        assert {levels[check] for check in ("CIS-DI-0001", "DKL-DI-0006")} == {"WARN"}
        assert {levels[check] for check in ("CIS-DI-0005", "CIS-DI-0006", "CIS-DI-0008", "DKL-LI-0003")} == {"INFO"}

    def test_every_level_has_a_severity(self) -> None:
        assert SEVERITIES == {
            CheckLevel.FATAL: Severity.HIGH,
            CheckLevel.WARN: Severity.MEDIUM,
            CheckLevel.INFO: Severity.LOW,
        }

    def test_every_check_that_can_be_decided_is_judged(self) -> None:
        decided = {check.id for check in CHECKS if check.needs != (Needs.NOTHING,)}
        assert set(assessment._JUDGES) == decided


class TestDecidability:
    def test_without_anything_only_files_are_judged(self) -> None:
        outcomes, records = assess(Facts(config=None, history=()), LAYERS)
        needs = {check.id: check.needs for check in CHECKS}
        assert all(Needs.FILES in needs[outcome.check_id] for outcome in outcomes)
        assert records == ()

    def test_without_history_its_checks_say_nothing(self) -> None:
        outcomes, _ = assess(Facts(config={}, history=()), LAYERS)
        ran = {outcome.check_id for outcome in outcomes}
        assert "CIS-DI-0001" in ran
        assert not {"CIS-DI-0007", "CIS-DI-0009", "DKL-DI-0005", "DKL-DI-0006", "DKL-LI-0001", "DKL-LI-0002"} & ran

    def test_a_history_without_commands_is_none(self) -> None:
        silent = (HistoryEntry(created="", created_by="", comment="imported", layer_index=0),)
        ran = {outcome.check_id for outcome in assess(Facts(config={}, history=silent), LAYERS)[0]}
        assert "CIS-DI-0009" not in ran

    def test_a_check_that_ran_and_passed_is_listed(self) -> None:
        outcomes, _ = assess(Facts(config={"User": "app"}, history=steps(), tag="1.2"), LAYERS)
        assert CheckOutcome(check_id="CIS-DI-0001", failures=0) in outcomes
        assert CheckOutcome(check_id="DKL-DI-0006", failures=0) in outcomes


class TestConfig:
    @pytest.mark.parametrize("user", ["", "root", "0", "0:0", "root:app", "000"])
    def test_root(self, user: str) -> None:
        assert of_config({"User": user}, "CIS-DI-0001")

    @pytest.mark.parametrize("user", ["app", "1000", "65532:0", "rootless"])
    def test_not_root(self, user: str) -> None:
        assert not of_config({"User": user}, "CIS-DI-0001")

    def test_healthcheck(self) -> None:
        assert of_config({}, "CIS-DI-0006")
        assert of_config({"Healthcheck": {"Test": ["NONE"]}}, "CIS-DI-0006") == ["HEALTHCHECK NONE"]
        assert not of_config({"Healthcheck": {"Test": ["CMD", "true"]}}, "CIS-DI-0006")

    def test_variables_are_named_and_their_values_are_not_shown(self) -> None:
        env = ["PATH=/bin", "DB_PASSWORD=hunter2", "EMPTY_TOKEN=", "GPG_KEY=E3FF2839", "API_KEY=$OTHER", "novalue"]
        assert of_config({"Env": env}, "CIS-DI-0010") == ["ENV DB_PASSWORD"]

    def test_labels(self) -> None:
        assert of_config({"Labels": {"com.example.token": "abc", "version": "1"}}, "HG-DI-0002") == [
            "LABEL com.example.token"
        ]

    def test_volumes(self) -> None:
        volumes: dict[str, Any] = {"/sys": {}, "/dev/": {}, "/proc": {}, "/data": {}, "/sys/fs/cgroup": {}}
        assert of_config({"Volumes": volumes}, "DKL-DI-0002") == ["VOLUME /dev/", "VOLUME /proc", "VOLUME /sys"]

    def test_ports(self) -> None:
        ports: dict[str, Any] = {"22/tcp": {}, "8080/tcp": {}, "53/udp": {}, "20-25": {}, "x": {}, "0": {}}
        assert of_config({"ExposedPorts": ports}, "HG-DI-0001") == ["EXPOSE 20-25", "EXPOSE 22/tcp", "EXPOSE 53/udp"]
        assert of_config({"ExposedPorts": ports}, "HG-DI-0003") == [
            "EXPOSE 20-25 (SSH)",
            "EXPOSE 20-25 (Telnet)",
            "EXPOSE 22/tcp (SSH)",
        ]

    def test_latest(self) -> None:
        assert "DKL-DI-0006" in failures(Facts(config={}, history=(), tag="latest"))
        assert "DKL-DI-0006" not in failures(Facts(config={}, history=(), tag="latest-alpine"))

    @given(
        st.dictionaries(
            st.sampled_from(["User", "Env", "Labels", "Volumes", "ExposedPorts", "Healthcheck"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.text(),
                lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                max_leaves=8,
            ),
        )
    )
    def test_any_config_can_be_judged(self, config: dict[str, Any]) -> None:
        assess(Facts(config=config, history=()), LAYERS)


class TestHistory:
    @pytest.mark.parametrize(
        "command",
        [
            "/bin/sh -c apt-get update",
            "RUN /bin/sh -c apt-get -y update # buildkit",
            "/bin/sh -c apt update && rm -rf /var/lib/apt/lists/*",
            "/bin/sh -c apt-get install -y curl && apt-get update",
            "/bin/sh -c apk update",
        ],
    )
    def test_update_alone(self, command: str) -> None:
        assert failed_steps(command, check="CIS-DI-0007") == 1

    @pytest.mark.parametrize(
        "command",
        [
            "/bin/sh -c apt-get update && apt-get install -y curl",
            "/bin/sh -c apt-get update; apt-get upgrade -y",
            "/bin/sh -c apt-get update \n apt-get install -y curl",
            "/bin/sh -c apk update && apk add curl",
            "/bin/sh -c apk add --update curl",
            'LABEL how="apt-get update"',
            '/bin/sh -c #(nop)  CMD ["apt-get" "update"]',
        ],
    )
    def test_update_in_company(self, command: str) -> None:
        assert failed_steps(command, check="CIS-DI-0007") == 0

    @pytest.mark.parametrize(
        "command", ["/bin/sh -c #(nop) ADD file:9a1 in /app ", "ADD app.tar.gz /app # buildkit", "ADD https://x.y/z /z"]
    )
    @pytest.mark.parametrize("mapped", [True, False])
    def test_add(self, command: str, mapped: bool) -> None:  # noqa: FBT001 -- a parameter of the test
        assert failed_steps("COPY a b # buildkit", command, check="CIS-DI-0009", mapped=mapped) == 1

    def test_the_add_of_the_base_image_is_none(self) -> None:
        assert failed_steps("RUN useradd ADD", check="CIS-DI-0009") == 0
        arguments = HistoryEntry(created="", created_by="ARG RELEASE", comment="", layer_index=None)
        facts = Facts(config={}, history=(arguments, *steps("ADD a b # buildkit")))
        [record] = failures(facts)["CIS-DI-0009"]
        assert (record.evidence, record.layer_index, record.layer_digest) == (("ADD a b # buildkit",), 1, LAYERS[1])

    @pytest.mark.parametrize(
        ("command", "failed"),
        [
            ("/bin/sh -c sudo make install", 1),
            ("RUN /bin/sh -c apt-get install -y --no-install-recommends sudo # buildkit", 1),
            ("RUN echo pseudo", 0),
            ('LABEL tip="no sudo here"', 0),
        ],
    )
    def test_sudo(self, command: str, failed: int) -> None:
        assert failed_steps(command, check="DKL-DI-0001") == failed

    @pytest.mark.parametrize(
        ("command", "failed"),
        [
            ("RUN apt-get update && apt-get dist-upgrade -y", 1),
            ("RUN apt full-upgrade", 1),
            ("RUN apt-get upgrade -y", 0),
            ("RUN apk upgrade", 0),
        ],
    )
    def test_upgrades(self, command: str, failed: int) -> None:
        assert failed_steps(command, check="DKL-DI-0003") == failed

    @pytest.mark.parametrize(
        ("command", "failed"),
        [
            ("RUN apk add curl", 1),
            ("RUN apk add --no-cache curl && apk add git", 1),
            ("RUN apk --no-cache add curl", 0),
            ("RUN apk add curl && rm -rf /var/cache/apk/*", 0),
            ("RUN rm -rf /var/cache/apk/* && apk add curl", 1),
        ],
    )
    def test_apk_cache(self, command: str, failed: int) -> None:
        assert failed_steps(command, check="DKL-DI-0004") == failed

    @pytest.mark.parametrize(
        ("command", "failed"),
        [
            ("RUN apt-get update && apt-get install -y curl", 1),
            ("RUN apt-get update && apt-get install -y curl && apt-get clean", 1),
            ("RUN apt-get update && apt-get install -y curl && rm -rf /var/lib/apt/lists/*", 0),
            ("RUN apt-get update && apt-get install -y curl; rm -fr /tmp/x /var/lib/apt/lists", 0),
            ("RUN rm -rf /var/lib/apt/lists/* && apt-get update", 1),
            ("RUN rm /var/lib/apt/lists/a", 0),
        ],
    )
    def test_apt_cache(self, command: str, failed: int) -> None:
        assert failed_steps(command, check="DKL-DI-0005") == failed

    def test_the_layer_knows_better_whether_lists_are_left(self) -> None:
        history = steps("RUN apt-get install -y curl", "RUN apt-get install -y git")
        found = failures(Facts(config={}, history=history, list_layers=frozenset({2})))["DKL-DI-0005"]
        assert [record.layer_index for record in found] == [2]

    @pytest.mark.parametrize(
        ("command", "failed"),
        [
            ("RUN apt-get install -y --allow-unauthenticated x", 1),
            ("RUN apk add --allow-untrusted x.apk", 1),
            ("RUN curl -fsSLk https://x.y/z -o z", 1),
            ("RUN curl --insecure https://x.y", 1),
            ("RUN wget --no-check-certificate https://x.y", 1),
            ("RUN pip install --trusted-host=x.y z", 1),
            ("RUN curl -fsSL https://x.y/k && mkdir -pk z", 0),
        ],
    )
    def test_verification(self, command: str, failed: int) -> None:
        assert failed_steps(command, check="CIS-DI-0011") == failed

    @pytest.mark.parametrize(
        ("command", "failed"),
        [
            ("RUN curl -sSL https://x.y/install.sh | bash -s -- --yes", 1),
            ("RUN wget -qO- https://x.y | sudo -E bash -", 1),
            ("RUN curl https://x.y | env A=b /usr/bin/python3", 1),
            ("RUN curl https://x.y | tar xz || sh recover.sh", 0),
            ("RUN curl https://x.y -o z && sh z", 0),
        ],
    )
    def test_piped_downloads(self, command: str, failed: int) -> None:
        assert failed_steps(command, check="HG-DI-0004") == failed

    def test_assignments_are_named_and_masked(self) -> None:
        found = failures(
            Facts(
                config={},
                history=steps(
                    "RUN |1 NPM_TOKEN=hunter2 /bin/sh -c npm ci # buildkit",
                    "/bin/sh -c #(nop)  ENV DB_PASSWORD=hunter3",
                ),
            )
        )["CIS-DI-0010"]
        assert [record.evidence[0] for record in found] == [
            "NPM_TOKEN in RUN |1 NPM_TOKEN=******** /bin/sh -c npm ci # buildkit",
            "DB_PASSWORD in /bin/sh -c #(nop) ENV DB_PASSWORD=********",
        ]

    def test_a_secret_is_masked_before_a_step_is_cut(self) -> None:
        token = "ghp_" + "aB3dE6gH9k" * 4
        [record] = failures(Facts(config={}, history=steps(f"RUN sudo {'x' * 285} {token} y")))["DKL-DI-0001"]
        assert token[:12] not in record.evidence[0]
        assert record.evidence[0].endswith("…")

    @given(st.lists(st.text(), max_size=5))
    def test_any_history_can_be_judged(self, commands: list[str]) -> None:
        records = assess(Facts(config={}, history=steps(*commands)), LAYERS)[1]
        assert all(line.isprintable() for record in records for line in record.evidence)


class TestFiles:
    def test_setuid_and_setgid(self) -> None:
        files = (("usr/bin/su", 0o4755), ("usr/bin/wall", 0o2755), ("usr/bin/ls", 0o755))
        assert of_files(*files, check="CIS-DI-0008") == ["usr/bin/su", "usr/bin/wall"]
        [record] = failures(Facts(config={}, history=(), files=(FileFact("usr/bin/su", 0o4755, 2),)))["CIS-DI-0008"]
        assert (record.evidence, record.layer_digest) == (("-rwsr-xr-x usr/bin/su",), LAYERS[2])

    def test_the_program_sudo(self) -> None:
        assert of_files(("usr/bin/sudo", 0o4755), check="DKL-DI-0001") == ["usr/bin/sudo"]
        assert of_files(("opt/sudo", 0o4755), check="DKL-DI-0001") == []

    def test_credential_files(self) -> None:
        names = ["root/.ssh/id_rsa", "app/vpn.ovpn", "srv/credentials.json"]
        packaged = ["usr/lib/python3/dist-packages/django/conf/settings.py", "app/node_modules/x/credentials"]
        files = [(path, 0o600) for path in (*names, *packaged, "app/id_rsa.pub", "app/readme")]
        assert of_files(*files, check="CIS-DI-0010") == sorted(names)

    def test_clutter(self) -> None:
        directories = tuple(FileFact(path, 0, 1) for path in ("app/.git", "tmp", "app/node_modules/x/tmp"))
        files = tuple(FileFact(path, 0o644, 1) for path in ("app/Dockerfile", "app/vendor/x/Dockerfile"))
        facts = Facts(config={}, history=(), files=files, clutter=directories)
        assert [record.path for record in failures(facts)["DKL-LI-0003"]] == ["app/.git", "app/Dockerfile", "tmp"]

    def test_writable_by_everybody(self) -> None:
        files = (("etc/cron.d/x", 0o666), ("usr/bin/x", 0o777), ("tmp/x", 0o666), ("app/x", 0o666))
        assert of_files(*files, check="HG-LI-0002") == ["etc/cron.d/x", "usr/bin/x"]

    @pytest.mark.parametrize(
        ("path", "mode"),
        [("a/b", 0o4755), ("a/b", 0o666), ("a/id_rsa", 0o600), ("x.jks", 0o600), ("Dockerfile", 0o644)],
    )
    def test_notable(self, path: str, mode: int) -> None:
        assert is_notable(path, mode)
        assert not is_notable("a/b", 0o755)

    def test_records_are_bounded_and_all_are_counted(self) -> None:
        files = tuple(FileFact(f"bin/{number:04}", 0o4755, 0) for number in range(RECORDS + 50))
        outcomes, records = assess(Facts(config=None, history=(), files=files), LAYERS)
        assert len(records) == RECORDS
        assert CheckOutcome(check_id="CIS-DI-0008", failures=RECORDS + 50) in outcomes


class TestAccounts:
    def test_empty_passwords(self) -> None:
        contents = {
            "etc/shadow": b"root::19000:0:::::\nbin:*:1::::::\nbob:!:1::::::\n",
            "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nguest::1000:1000::/:/bin/sh\n",
        }
        assert of_contents(contents, "DKL-LI-0001") == [
            "The account guest has an empty password",
            "The account root has an empty password",
        ]

    def test_unique_ids(self) -> None:
        contents = {
            "etc/passwd": b"root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\nbob:x:1000:0::/:/bin/sh\n+::::::\n# x\n",
            "etc/group": b"a:x:5:\nb:x:6:\nc:x:5:\n",
        }
        assert of_contents(contents, "DKL-LI-0002") == [
            "The groups a and c have the number 5",
            "The accounts root and toor have the number 0",
        ]

    def test_sudo_without_a_password(self) -> None:
        contents = {
            "etc/sudoers": b"root ALL=(ALL:ALL) ALL\n# %wheel ALL=(ALL) NOPASSWD: ALL\n",
            "etc/sudoers.d/app": b"app ALL=(ALL)\tNOPASSWD: ALL\n",
        }
        assert of_contents(contents, "HG-LI-0001") == ["app ALL=(ALL) NOPASSWD: ALL"]

    @given(st.binary(), st.binary())
    def test_any_file_can_be_judged(self, first: bytes, second: bytes) -> None:
        names: Sequence[str] = ("etc/passwd", "etc/group", "etc/shadow", "etc/sudoers", "etc/sudoers.d/x")
        held = {name: FileContent(first if number % 2 else second, 0) for number, name in enumerate(names)}
        records = assess(Facts(config=None, history=(), contents=held), LAYERS)[1]
        assert all(line.isprintable() for record in records for line in record.evidence)


def test_the_most_severe_come_first() -> None:
    facts = Facts(config={"Volumes": {"/dev": {}}}, history=steps("RUN sudo x"), tag="latest")
    levels = [record.level for record in assess(facts, LAYERS)[1]]
    assert levels == sorted(levels, key=list(CheckLevel).index)
    assert set(levels) == set(CheckLevel)
