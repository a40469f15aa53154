from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.dependencies.records import PackageRecord, PackageType
from tests.workers.inventory.files import files
from workers.inventory.notes import Notes
from workers.inventory.python import python_packages, wants

SITE = "usr/local/lib/python3.12/site-packages"
JINJA = """\
Metadata-Version: 2.1
Name: Jinja2
Version: 2.10
Summary: A small but fast and easy to use stand-alone template engine written in pure python.
License: BSD
Classifier: Development Status :: 5 - Production/Stable
Classifier: License :: OSI Approved :: BSD License
Requires-Dist: MarkupSafe (>=0.23)

Name: not-this
Version: 0
"""


def read(contents: dict[str, str | bytes], notes: Notes | None = None) -> list[PackageRecord]:
    return list(python_packages(files(contents, layer=3), notes or Notes()))


def licences(*headers: str) -> tuple[str, ...]:
    metadata = "\n".join(("Metadata-Version: 2.4", "Name: a", "Version: 1", *headers, "", "License: body"))
    [package] = read({f"{SITE}/a-1.dist-info/METADATA": metadata})
    return package.licenses


def test_a_wheel() -> None:
    path = f"{SITE}/Jinja2-2.10.dist-info/METADATA"
    assert read({path: JINJA}) == [
        PackageRecord(
            name="Jinja2",
            version="2.10",
            type=PackageType.PIP,
            ecosystem="PyPI",
            source_name="jinja2",
            source_version="2.10",
            purl="pkg:pypi/jinja2@2.10",
            licenses=("BSD",),
            path=path,
            layer_digest=f"sha256:{3:064x}",
            layer_index=3,
        )
    ]


def test_names_are_filed_in_their_normal_form() -> None:
    [package] = read({f"{SITE}/zope.interface-6.1.dist-info/METADATA": "Name: Zope.Interface__X\nVersion: 6.1\n"})
    assert (package.name, package.source_name) == ("Zope.Interface__X", "zope-interface-x")


@pytest.mark.parametrize(
    "path",
    [
        "usr/lib/python3/dist-packages/six-1.16.0.egg-info/PKG-INFO",
        "usr/lib/python3/dist-packages/six-1.16.0.egg-info",
        "opt/eggs/six-1.16.0-py3.11.egg/EGG-INFO/PKG-INFO",
    ],
)
def test_older_forms(path: str) -> None:
    [package] = read({path: "Metadata-Version: 1.2\nName: six\nVersion: 1.16.0\nLicense: MIT\n"})
    assert (package.name, package.version, package.licenses, package.path) == ("six", "1.16.0", ("MIT",), path)


def test_two_descriptions_of_one_installation_are_one_package() -> None:
    metadata = "Name: Flask_Login\nVersion: 0.6.3\n"
    other = "Name: flask-login\nVersion: 0.6.3\n"
    packages = read(
        {
            f"{SITE}/Flask_Login.egg-info/PKG-INFO": other,
            f"{SITE}/Flask_Login-0.6.3.dist-info/METADATA": metadata,
            "srv/venv/site-packages/Flask_Login-0.6.3.dist-info/METADATA": metadata,
        }
    )
    assert sorted(each.path for each in packages) == [
        "srv/venv/site-packages/Flask_Login-0.6.3.dist-info/METADATA",
        f"{SITE}/Flask_Login-0.6.3.dist-info/METADATA",
    ]


def test_licence_expressions_come_first() -> None:
    assert licences(
        "License-Expression: MIT OR Apache-2.0",
        "License: something",
        "Classifier: License :: OSI Approved :: ISC License (ISCL)",
    ) == ("MIT OR Apache-2.0",)


def test_classifiers_that_name_one_licence_come_next() -> None:
    assert licences(
        "License: look at the file LICENSE",
        "Classifier: License :: OSI Approved :: Apache Software License",
        "Classifier: License :: OSI Approved :: GNU General Public License v2 or later (GPLv2+)",
        "Classifier: License :: OSI Approved :: BSD License",
    ) == ("Apache-2.0", "GPL-2.0-or-later")


def test_a_short_licence_is_clearer_than_a_vague_classifier() -> None:
    vague = "Classifier: License :: OSI Approved :: BSD License"
    assert licences("License: 3-Clause BSD License", vague) == ("BSD-3-Clause",)
    assert licences(vague) == ("BSD License",)
    assert licences("License: UNKNOWN", vague) == ("BSD License",)


def test_a_whole_licence_text_is_no_licence_name() -> None:
    assert licences("License: Copyright (c) 2020 Someone", "        ", "        Permission is hereby granted") == ()
    assert licences(f"License: {'Permission is hereby granted ' * 10}") == ()


def test_a_description_is_never_read_as_fields() -> None:
    honest = "Metadata-Version: 2.1\nName: a\nVersion: 1\n\nName: b\nVersion: 2\nLicense: MIT\n\nName: c\nVersion: 3\n"
    headless = "Metadata-Version: 2.1\n\nName: d\nVersion: 4\n"
    notes = Notes()
    [package] = read(
        {
            f"{SITE}/a-1.dist-info/METADATA": honest,
            f"{SITE}/d-4.dist-info/METADATA": headless,
            f"{SITE}/e-5.egg-info": f"\n{honest}",
        },
        notes,
    )
    assert (package.name, package.version, package.licenses) == ("a", "1", ())
    assert len(notes.lines()) == 2


def test_a_malformed_file_costs_only_itself() -> None:
    notes = Notes()
    packages = read(
        {
            f"{SITE}/a-1.dist-info/METADATA": "",
            f"{SITE}/b-1.dist-info/METADATA": "Name: b\n",
            f"{SITE}/c.egg-info": "Name: c d\nVersion: 1\n",
            f"{SITE}/e-1.dist-info/METADATA": "Name: e\nVersion: 1\n",
        },
        notes,
    )
    assert [each.name for each in packages] == ["e"]
    assert notes.lines() == (
        f"{SITE}/a-1.dist-info/METADATA: a package without a name",
        f"{SITE}/b-1.dist-info/METADATA: a package without a version",
        f"{SITE}/c.egg-info: “c d” is not a package's name or version",
    )


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (f"{SITE}/a-1.dist-info/METADATA", True),
        (f"{SITE}/a-1.dist-info/RECORD", False),
        (f"{SITE}/METADATA", False),
        (f"{SITE}/a.egg-info/PKG-INFO", True),
        (f"{SITE}/a.egg-info/SOURCES.txt", False),
        (f"{SITE}/a.egg-info", True),
    ],
)
def test_wanted_files(path: str, wanted: bool) -> None:  # noqa: FBT001 -- a parameter of the test
    assert wants(path) is wanted


@settings(deadline=None)
@given(st.binary())
def test_nothing_makes_it_raise(content: bytes) -> None:
    read({f"{SITE}/a.dist-info/METADATA": content, f"{SITE}/b.dist-info/METADATA": b"Name: a\nVersion: 1\n" + content})
