from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.inventory.copyright import copyright_licenses

COPYRIGHT = (
    """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: GNU C Library

Files: *
Copyright: 1991-2022 Free Software Foundation, Inc.
License: LGPL-2.1+

Files: posix/*
Copyright: someone
License: BSD-3-clause and Expat or GPL-2+ with Link exception

License: LGPL-2.1+
 On Debian systems, the text is in /usr/share/common-licenses/LGPL-2.1.
 License: not this one

License: a name that is far too long """
    + "x" * 300
)


def licences(text: str) -> list[str]:
    return list(dict.fromkeys(copyright_licenses(text.encode())))


def test_a_machine_readable_file_names_them() -> None:
    assert licences(COPYRIGHT) == ["LGPL-2.1-or-later", "BSD-3-Clause", "MIT", "GPL-2+ with Link exception"]


def test_a_field_of_a_file_in_prose_is_no_licence() -> None:
    assert licences("This is Debian's package.\n\nLicense:\n  GPL\nLicense: see below\n") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see `/usr/share/common-licenses/GPL-2'.", ["GPL-2.0-only"]),
        (
            "either version 2, or (at your option)\n   any later version. See /usr/share/common-licenses/GPL-2.",
            ["GPL-2.0-or-later"],
        ),
        ("/usr/share/common-licenses/Apache-2.0 and /usr/share/common-licenses/MPL-2.0.", ["Apache-2.0", "MPL-2.0"]),
        ("/usr/share/common-licenses/LGPL-2.1.", ["LGPL-2.1-only"]),
        ("/usr/share/common-licenses/GPL", []),  # of any version: no identifier says that
        ("Permission is hereby granted, free of charge, to any person\n * obtaining a copy of this", ["MIT"]),
        ("Permission to use, copy, modify, and distribute this software for any purpose\nwith or without fee", ["ISC"]),
        ("Redistribution and use in source and binary forms, with or without modification", ["BSD-2-Clause"]),
        (
            "Redistribution and use in source and binary forms\n3. Neither the name of the copyright holder",
            ["BSD-3-Clause"],
        ),
    ],
)
def test_prose_that_tells_a_licence(text: str, expected: list[str]) -> None:
    assert licences(f"This package was debianized by someone.\n\n{text}\n") == expected


@settings(deadline=None)
@given(st.binary(), st.sampled_from([b"", b"Format: dep5\nLicense: "]))
def test_nothing_makes_it_raise(content: bytes, head: bytes) -> None:
    assert all(name for name in copyright_licenses(head + content))
