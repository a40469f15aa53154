from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.kernel.errors import HarborGuardError
from schema.registries.addresses import read_address
from schema.registries.models import RegistryProvider, Schedule
from schema.registries.rules import detect, eligible, glob_issues, schedule_issues

NOW = datetime(2026, 4, 26, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("123456789012.dkr.ecr.eu-central-1.amazonaws.com", "AWS_ECR"),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "AWS_ECR"),
        ("europe-west3-docker.pkg.dev", "GOOGLE_GAR"),
        ("acme.azurecr.io", "AZURE_ACR"),
        ("ghcr.io", "GHCR"),
        ("docker.io", "DOCKER_HUB"),
        ("registry-1.docker.io", "DOCKER_HUB"),
        ("gitlab.com", "GITLAB"),
        ("registry.gitlab.com", "GITLAB"),
        ("git.acme.example:5050", "GITLAB"),
        ("acme.jfrog.io", "JFROG"),
        ("quay.io", "QUAY"),
        # Not told by their names
        ("harbor.acme.example", "CUSTOM"),
        ("nexus.acme.example:8082", "CUSTOM"),
        ("jfrog.acme.example", "CUSTOM"),
        ("quay.acme.example", "CUSTOM"),
        ("gcr.io", "CUSTOM"),
        ("eu.gcr.io", "CUSTOM"),
        # Whoever only looks like one
        ("ghcr.io.evil.example", "CUSTOM"),
        ("evilghcr.io", "CUSTOM"),
        ("azurecr.io.evil.example", "CUSTOM"),
        ("x.dkr.ecr.eu-central-1.amazonaws.com.evil.example", "CUSTOM"),
        ("10.0.0.5:5000", "CUSTOM"),
    ],
)
def test_the_provider_is_told_by_the_host(host: str, provider: str) -> None:
    assert detect(host) is RegistryProvider(provider)


@pytest.mark.parametrize(
    ("tag", "include", "exclude", "expected"),
    [
        ("1.4.7", "*", "", True),
        ("1.4.7", "", "", True),
        ("1.4.7", "v*,latest", "", False),
        ("latest", "v*, latest", "", True),
        ("v1.0-dev", "v*", "*-dev,*-rc?", False),
        ("v1.0-rc1", "v*", "*-dev,*-rc?", False),
        ("v1.0-rc12", "v*", "*-dev,*-rc?", True),
        ("LATEST", "latest", "", False),
        ("a1", "a[0-9]", "", True),
        ("ab", "a[!0-9]", "", True),
        ("1.4.7", "*", " , ", True),
        ("latest", "*", "*", False),
    ],
)
def test_a_tag_counts_that_is_included_and_not_excluded(tag: str, include: str, exclude: str, expected: bool) -> None:  # noqa: FBT001
    assert eligible(tag, include, exclude) is expected


@pytest.mark.parametrize("suffix", ["", ".sig", ".att", ".sbom"])
def test_what_lies_beside_an_image_is_no_image(suffix: str) -> None:
    tag = f"sha256-{'a' * 64}{suffix}"
    assert not eligible(tag, "", "")
    assert not eligible(tag, "*", "")
    assert eligible(f"{tag}-rebuilt", "", "")


@given(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,40}", fullmatch=True))
def test_a_tag_is_its_own_glob(tag: str) -> None:
    assert eligible(tag, tag, "")
    assert not eligible(tag, "*", tag)


def test_globs_are_judged_before_they_are_stored() -> None:
    assert list(glob_issues("tagInclude", "v*, latest,[0-9]?")) == []
    assert [issue.path for issue in glob_issues("tagInclude", "v*,a b,c d")] == ["tagInclude"]
    assert [issue.message for issue in glob_issues("tagExclude", ",".join(["a"] * 51))] == [
        "must hold at most 50 globs"
    ]


@pytest.mark.parametrize(
    ("schedule", "cron", "zone", "paths"),
    [
        (Schedule.MANUAL, None, "UTC", []),
        (Schedule.CRON, "30 2 * * 1-5", "Europe/Berlin", []),
        (Schedule.CRON, "*/15 0-6,22 1 JAN SUN", "UTC", []),
        (Schedule.CRON, None, "UTC", ["cron"]),
        (Schedule.CRON, "30 2 * *", "UTC", ["cron"]),
        (Schedule.CRON, "30 2 * * 1; x", "UTC", ["cron"]),
        (Schedule.DAILY, "30 2 * * *", "UTC", ["cron"]),
        (Schedule.DAILY, None, "Europe/Nowhere", ["timeZone"]),
        (Schedule.DAILY, None, "Europe", ["timeZone"]),
        (Schedule.DAILY, None, "../etc/passwd", ["timeZone"]),
        (Schedule.DAILY, None, "/etc/localtime", ["timeZone"]),
    ],
)
def test_a_schedule_makes_sense(schedule: Schedule, cron: str | None, zone: str, paths: list[str]) -> None:
    assert [issue.path for issue in schedule_issues(schedule, cron, zone)] == paths


@pytest.mark.parametrize(
    ("url", "insecure", "host"),
    [
        ("ghcr.io", False, "ghcr.io"),
        ("https://GHCR.io/", False, "ghcr.io"),
        ("https://index.docker.io/v1/", False, "docker.io"),
        ("docker.io", False, "docker.io"),
        ("https://hub.docker.com", False, "docker.io"),
        ("https://gitlab.com", False, "registry.gitlab.com"),
        ("registry.example.com:5000", False, "registry.example.com:5000"),
        ("https://registry.example.com:443", False, "registry.example.com"),
        ("http://registry.example.com:80", True, "registry.example.com"),
        ("10.0.0.5:5000", True, "10.0.0.5:5000"),
        ("[::1]:5000", True, "[::1]:5000"),
        ("https://europe-west3-docker.pkg.dev/acme/images", False, "europe-west3-docker.pkg.dev"),
    ],
)
def test_an_address_is_read(url: str, insecure: bool, host: str) -> None:  # noqa: FBT001
    address = read_address(url, insecure=insecure)
    assert address.host == host
    assert address.url.startswith("http://" if insecure else "https://")
    assert read_address(address.url, insecure=insecure) == address


@pytest.mark.parametrize(
    ("url", "insecure", "message"),
    [
        ("", False, "must be 1 to 500"),
        ("https://re gistry.io", False, "without spaces"),
        ("ftp://registry.io", False, "must start with https://"),
        ("http://registry.io", False, "set insecure to true"),
        ("https://registry.io", True, "set insecure to false"),
        ("https://user:secret@registry.io", False, "must not hold a user name"),
        ("https://registry.io?x=1", False, "query"),
        ("https://", False, "names no host"),
        ("https://[::1", False, "is not an address"),
        ("registry", False, "must name a host with a domain or a port"),
        ("https://registry.io:99999", False, "port"),
        ("https://-registry.io", False, "host name"),
    ],
)
def test_an_address_that_is_none_is_refused_and_the_reason_named(url: str, insecure: bool, message: str) -> None:  # noqa: FBT001
    with pytest.raises(HarborGuardError, match=message) as refused:
        read_address(url, insecure=insecure)
    assert refused.value.issues[0].path == "url"
    assert "secret" not in refused.value.message


@given(st.text(max_size=60), st.booleans())
def test_no_text_is_read_as_an_address_that_is_read_otherwise(text: str, insecure: bool) -> None:  # noqa: FBT001
    try:
        address = read_address(text, insecure=insecure)
    except HarborGuardError as refused:
        assert refused.issues[0].path == "url"  # noqa: PT017
    else:
        assert read_address(address.url, insecure=insecure) == address
