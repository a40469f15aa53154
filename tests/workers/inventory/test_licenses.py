from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.inventory.licenses import spdx_license, stated_licenses


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("GPL-2+", "GPL-2.0-or-later"),
        ("GPL-2", "GPL-2.0-only"),
        ("GPL-3.0", "GPL-3.0-only"),
        ("GPL-3.0-or-later", "GPL-3.0-or-later"),
        ("GPLv3+", "GPL-3.0-or-later"),
        ("LGPL-2.1+", "LGPL-2.1-or-later"),
        ("lgpl 2.1", "LGPL-2.1-only"),
        ("AGPL-3", "AGPL-3.0-only"),
        ("GFDL-1.3+", "GFDL-1.3-or-later"),
        ("Expat", "MIT"),
        ("The MIT License", "MIT"),
        ("MIT Licence", "MIT"),
        ("BSD-3-clause", "BSD-3-Clause"),
        ("3-Clause BSD License", "BSD-3-Clause"),
        ("Apache 2.0", "Apache-2.0"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        # Not certain, or not known: as written.
        ("BSD", "BSD"),
        ("GPL", "GPL"),
        ("GPL-2+ with Autoconf exception", "GPL-2+ with Autoconf exception"),
        ("license", "license"),
        ("", ""),
    ],
)
def test_names_as_spdx_identifiers(written: str, expected: str) -> None:
    assert spdx_license(written) == expected


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("MIT", ["MIT"]),
        ("GPLv2+ and (MIT or ASL 2.0) and (BSD)", ["GPL-2.0-or-later", "MIT", "Apache-2.0", "BSD"]),
        ("BSD (2 clause) and Public Domain", ["BSD (2 clause)", "Public Domain"]),
        ("GPL-2.0-only WITH Classpath-exception-2.0", ["GPL-2.0-only WITH Classpath-exception-2.0"]),
        ("MIT AND (BSD-2-Clause OR ISC)", ["MIT AND (BSD-2-Clause OR ISC)"]),
        ("and or and", []),
        ("", []),
    ],
)
def test_a_field_is_one_expression_or_names_with_words_between(stated: str, expected: list[str]) -> None:
    assert list(stated_licenses(stated)) == expected


@given(st.text(alphabet="() andorMITWH\n", max_size=60))
def test_no_field_makes_it_raise(text: str) -> None:
    assert all(len(name) <= len(text) + 20 for name in stated_licenses(text))
