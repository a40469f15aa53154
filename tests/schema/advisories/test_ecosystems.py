"""Which ecosystems a package's advisories are filed under."""

from __future__ import annotations

import pytest

from schema.advisories.ecosystems import advisory_ecosystems, ecosystem_base, is_distribution, is_ubuntu_pro


@pytest.mark.parametrize(
    ("ecosystem", "filed"),
    [
        ("PyPI", ["PyPI"]),
        ("Maven:https://repo.example.org", ["Maven:https://repo.example.org", "Maven"]),
        ("Debian:12", ["Debian:12", "Debian"]),
        ("Debian:12.5", ["Debian:12.5", "Debian:12", "Debian"]),
        ("Alpine:v3.19", ["Alpine:v3.19", "Alpine"]),
        ("Wolfi", ["Wolfi"]),
        (
            "Ubuntu:22.04",
            ["Ubuntu:22.04", "Ubuntu:22.04:LTS", "Ubuntu:Pro:22.04:LTS", "Ubuntu"],
        ),
        (
            "Ubuntu:22.04:LTS",
            ["Ubuntu:22.04:LTS", "Ubuntu:22.04", "Ubuntu:Pro:22.04:LTS", "Ubuntu"],
        ),
        ("Rocky Linux:9.3", ["Rocky Linux:9.3", "Rocky Linux:9", "Rocky Linux"]),
        (
            "Red Hat:enterprise_linux:9",
            [
                "Red Hat:enterprise_linux:9",
                "Red Hat:enterprise_linux:9::baseos",
                "Red Hat:enterprise_linux:9::appstream",
                "Red Hat:enterprise_linux:9::crb",
                "Red Hat",
            ],
        ),
        (
            "Red Hat:enterprise_linux:10",
            [
                "Red Hat:enterprise_linux:10",
                "Red Hat:enterprise_linux:10::baseos",
                "Red Hat:enterprise_linux:10::appstream",
                "Red Hat:enterprise_linux:10::crb",
                *(f"Red Hat:enterprise_linux:10.{minor}" for minor in range(11)),
                "Red Hat",
            ],
        ),
        (
            "SUSE:Linux Enterprise Server 15 SP6",
            [
                "SUSE:Linux Enterprise Server 15 SP6",
                "SUSE:Linux Enterprise Module for Basesystem 15 SP6",
                "SUSE:Linux Enterprise Module for Certifications 15 SP6",
                "SUSE:Linux Enterprise Module for Containers 15 SP6",
                "SUSE:Linux Enterprise Module for Desktop Applications 15 SP6",
                "SUSE:Linux Enterprise Module for Development Tools 15 SP6",
                "SUSE:Linux Enterprise Module for Legacy 15 SP6",
                "SUSE:Linux Enterprise Module for Public Cloud 15 SP6",
                "SUSE:Linux Enterprise Module for Python 3 15 SP6",
                "SUSE:Linux Enterprise Module for Server Applications 15 SP6",
                "SUSE:Linux Enterprise Module for Web and Scripting 15 SP6",
                "SUSE:Linux Enterprise Server 15 SP6-LTSS",
                "SUSE",
            ],
        ),
        ("SUSE:Linux Enterprise Server 12 SP5", ["SUSE:Linux Enterprise Server 12 SP5", "SUSE"]),
        ("openSUSE:Leap 15.5", ["openSUSE:Leap 15.5", "openSUSE"]),
    ],
)
def test_where_advisories_are_filed(ecosystem: str, filed: list[str]) -> None:
    assert list(advisory_ecosystems(ecosystem)) == filed


def test_kinds_of_ecosystems() -> None:
    assert ecosystem_base("Ubuntu:22.04:LTS") == "Ubuntu"
    assert is_distribution("Red Hat:enterprise_linux:9::baseos")
    assert not is_distribution("Maven:https://repo.example.org")
    assert is_ubuntu_pro("Ubuntu:Pro:18.04:LTS")
    assert not is_ubuntu_pro("Ubuntu:18.04:LTS")
