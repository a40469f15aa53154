from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.dependencies.records import OperatingSystem
from tests.workers.inventory.files import files
from workers.inventory.notes import Notes
from workers.inventory.os_release import FILES, read_operating_system, wants

BOOKWORM = """\
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian
HOME_URL="https://www.debian.org/"
"""


def read(contents: dict[str, str | bytes]) -> OperatingSystem | None:
    return read_operating_system(files(contents), Notes())


def test_debian_as_it_describes_itself() -> None:
    assert read({"usr/lib/os-release": BOOKWORM}) == OperatingSystem(
        id="debian", name="Debian GNU/Linux 12 (bookworm)", version="12", ecosystem="Debian:12"
    )


# Names as https://ossf.github.io/osv-schema/#defined-ecosystems spells them.
@pytest.mark.parametrize(
    ("release", "ecosystem"),
    [
        ('ID=debian\nVERSION_ID="11"', "Debian:11"),
        ('ID=debian\nPRETTY_NAME="Debian GNU/Linux forky/sid"\nVERSION_CODENAME=forky', "Debian:14"),
        ("ID=debian\nVERSION_CODENAME=sid", None),
        ("ID=alpine\nVERSION_ID=3.19.1", "Alpine:v3.19"),
        ("ID=alpine\nVERSION_ID=3.22_alpha20250108", "Alpine:v3.22"),
        ("ID=alpine\nVERSION_ID=edge", None),
        ('ID=ubuntu\nVERSION_ID="22.04"', "Ubuntu:22.04:LTS"),
        ('ID=ubuntu\nVERSION_ID="23.04"', "Ubuntu:23.04"),
        ('ID=ubuntu\nVERSION_ID="23.10"', "Ubuntu:23.10"),
        ('ID=ubuntu\nVERSION_ID="24.10"', "Ubuntu:24.10"),
        ("ID=wolfi\nVERSION_ID=20230201", "Wolfi"),
        ('ID="chainguard"', "Chainguard"),
        ('ID="rocky"\nVERSION_ID="9.3"', "Rocky Linux:9"),
        ('ID="almalinux"\nVERSION_ID="8.10"', "AlmaLinux:8"),
        (
            'ID="rhel"\nVERSION_ID="9.4"\nCPE_NAME="cpe:/o:redhat:enterprise_linux:9::baseos"',
            "Red Hat:enterprise_linux:9",
        ),
        (
            'ID="sles"\nVERSION_ID="15.6"\nPRETTY_NAME="SUSE Linux Enterprise Server 15 SP6"',
            "SUSE:Linux Enterprise Server 15 SP6",
        ),
        ('ID="sl-micro"\nVERSION_ID="6.0"\nPRETTY_NAME="SUSE Linux Micro 6.0"', "SUSE:Linux Micro 6.0"),
        ('ID="sles"\nVERSION_ID="15.6"\nPRETTY_NAME="Something else"', None),
        ('ID="opensuse-leap"\nVERSION_ID="15.6"\nPRETTY_NAME="openSUSE Leap 15.6"', "openSUSE:Leap 15.6"),
        ('ID="opensuse-tumbleweed"\nVERSION_ID="20240607"\nPRETTY_NAME="openSUSE Tumbleweed"', "openSUSE:Tumbleweed"),
        ('ID=photon\nVERSION_ID=5.0\nPRETTY_NAME="VMware Photon OS/Linux"', "Photon OS:5.0"),
        ('ID="mageia"\nVERSION_ID="9"', "Mageia:9"),
        ('ID="openEuler"\nVERSION_ID="22.03"\nVERSION="22.03 (LTS-SP3)"', "openEuler:22.03-LTS-SP3"),
        ('ID="openEuler"\nVERSION_ID="24.03"\nVERSION="24.03 (LTS)"', "openEuler:24.03-LTS"),
        ('ID="openEuler"\nVERSION_ID="23.09"\nVERSION="23.09"', None),
        ('ID=azurelinux\nVERSION_ID="3.0"\nVERSION="3.0.20240727"', "Azure Linux:3"),
        ('ID=mariner\nVERSION_ID="2.0"', "Azure Linux:2"),
        ("ID=fedora\nVERSION_ID=40", None),
        ('ID="amzn"\nVERSION_ID="2023"', None),
        ('ID="ol"\nVERSION_ID="9.4"', None),
        ('ID="centos"\nVERSION_ID="9"', None),
        ("ID=linuxmint\nID_LIKE=ubuntu\nVERSION_ID=21.3", None),
        ("ID=debian", None),
    ],
)
def test_the_osv_ecosystem_of_a_distribution(release: str, ecosystem: str | None) -> None:
    system = read({"etc/os-release": release})
    assert system is not None
    assert system.ecosystem == ecosystem


def test_etc_comes_before_usr_lib() -> None:
    system = read({"usr/lib/os-release": BOOKWORM, "etc/os-release": "ID=alpine\nVERSION_ID=3.20.0"})
    assert system is not None
    assert system.id == "alpine"


def test_values_are_unquoted_as_a_shell_would() -> None:
    system = read(
        {"etc/os-release": '# comment\nID=\'debian\'\nVERSION_ID=12\nPRETTY_NAME="My \\"own\\" \\$ system"\n'}
    )
    assert system is not None
    assert (system.id, system.version, system.name) == ("debian", "12", 'My "own" $ system')


@pytest.mark.parametrize(
    ("path", "content", "expected"),
    [
        ("etc/debian_version", "12.4\n", ("debian", "12.4", "Debian GNU/Linux 12.4", "Debian:12")),
        ("etc/debian_version", "trixie/sid\n", ("debian", "trixie", "Debian GNU/Linux trixie", "Debian:13")),
        ("etc/alpine-release", "3.18.6\n", ("alpine", "3.18.6", "Alpine Linux 3.18.6", "Alpine:v3.18")),
    ],
)
def test_images_without_os_release(path: str, content: str, expected: tuple[str, ...]) -> None:
    system = read({path: content})
    assert system is not None
    assert (system.id, system.version, system.name, system.ecosystem) == expected


def test_an_image_that_says_nothing_has_no_operating_system() -> None:
    assert read({}) is None


def test_a_file_that_names_no_distribution_is_noted_and_the_next_one_asked() -> None:
    notes = Notes()
    system = read_operating_system(
        files({"etc/os-release": 'ID="un balanced\nID=../etc', "usr/lib/os-release": BOOKWORM}), notes
    )
    assert system is not None
    assert system.id == "debian"
    assert notes.lines() == ("etc/os-release: does not say which distribution this is",)


def test_hostile_values_stay_small_and_on_one_line() -> None:
    system = read({"etc/os-release": f'ID=debian\nVERSION_ID={"9" * 500}\nPRETTY_NAME="{"x" * 5000}\x1b[31m"'})
    assert system is not None
    assert (len(system.name), system.version, system.ecosystem) == (200, "", None)


def test_wanted_files() -> None:
    assert all(wants(path) for path in FILES)
    assert not wants("usr/share/os-release")


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(FILES)), st.binary() | st.text()))
def test_nothing_makes_it_raise(contents: dict[str, str | bytes]) -> None:
    try:
        system = read(contents)
    except UnicodeEncodeError:  # the test's own: a lone surrogate is no file content
        return
    assert system is None or (system.name.isprintable() and len(system.name) <= 200)


@settings(deadline=None)
@given(st.text(alphabet="ID=debian\"'\\ VERSO_\n.129#$"))
def test_no_assignment_makes_it_raise(text: str) -> None:
    read({"etc/os-release": f"ID=debian\n{text}"})
