from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.licenses import canonicalize_license_expression

from workers.inventory import licenses, python
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
        ("Apache Software License, Version 2.0", "Apache-2.0"),
        ("Mozilla Public License 2.0", "MPL-2.0"),
        ("Eclipse Public License v2.0", "EPL-2.0"),
        # Identifiers and expressions, in the spelling of the list.
        ("mit", "MIT"),
        ("0bsd", "0BSD"),
        ("BlueOak-1.0.0", "BlueOak-1.0.0"),
        ("mit or apache-2.0", "MIT OR Apache-2.0"),
        ("(MIT OR CC0-1.0)", "(MIT OR CC0-1.0)"),
        ("(GPL-2.0+ OR MIT) AND LGPL-2.1", "(GPL-2.0-or-later OR MIT) AND LGPL-2.1-only"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("GPL-2.0 with Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("LicenseRef-Custom", "LicenseRef-Custom"),
        # Addresses.
        ("https://www.apache.org/licenses/LICENSE-2.0.txt", "Apache-2.0"),
        ("http://www.apache.org/licenses/LICENSE-2.0", "Apache-2.0"),
        ("https://opensource.org/licenses/MIT", "MIT"),
        ("https://www.eclipse.org/legal/epl-v20.html", "EPL-2.0"),
        ("https://example.org/license", "https://example.org/license"),
        # Not certain, or not known: as written.
        ("BSD", "BSD"),
        ("GPL", "GPL"),
        ("GPL-2+ with Autoconf exception", "GPL-2+ with Autoconf exception"),
        ("Apache License", "Apache License"),
        ("MIT/Apache-2.0", "MIT/Apache-2.0"),
        ("MIT AND", "MIT AND"),
        ("SEE LICENSE IN LICENSE.md", "SEE LICENSE IN LICENSE.md"),
        ("UNLICENSED", "UNLICENSED"),
        ("proprietary", "proprietary"),
        ("license", "license"),
        ("", ""),
    ],
)
def test_names_as_spdx_identifiers(written: str, expected: str) -> None:
    assert spdx_license(written) == expected


@settings(deadline=None)
@given(st.text() | st.text(alphabet="() ANDORWITHmit-2.0+gplv") | st.integers(1, 200).map("(".__mul__))
def test_nothing_makes_it_raise(name: str) -> None:
    assert spdx_license(name) is not None


@settings(deadline=None)
@given(st.text(alphabet="() ANDORWITHmit-2.0+gplv"))
def test_what_it_answers_is_its_own_answer(name: str) -> None:
    assert spdx_license(spdx_license(name)) == spdx_license(name)


def test_every_identifier_of_the_tables_is_on_the_list() -> None:
    for identifier in {*licenses._SPDX.values(), *licenses._ADDRESSES.values(), *python._SPDX.values()}:
        assert canonicalize_license_expression(identifier) == identifier


def test_every_name_of_the_table_is_found() -> None:
    for name, identifier in licenses._SPDX.items():
        assert spdx_license(name) == spdx_license(f"The {name.title()} License") == identifier


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("MIT", ["MIT"]),
        ("GPLv2+ and (MIT or ASL 2.0) and (BSD)", ["GPL-2.0-or-later", "MIT", "Apache-2.0", "BSD"]),
        ("BSD (2 clause) and Public Domain", ["BSD (2 clause)", "Public Domain"]),
        ("GPL-2.0-only WITH Classpath-exception-2.0", ["GPL-2.0-only WITH Classpath-exception-2.0"]),
        ("MIT AND (BSD-2-Clause OR ISC)", ["MIT AND (BSD-2-Clause OR ISC)"]),
        ("mit AND apache-2.0", ["MIT AND Apache-2.0"]),
        ("and or and", []),
        ("", []),
    ],
)
def test_a_field_is_one_expression_or_names_with_words_between(stated: str, expected: list[str]) -> None:
    assert list(stated_licenses(stated)) == expected


@given(st.text(alphabet="() andorMITWH\n", max_size=60))
def test_no_field_makes_it_raise(text: str) -> None:
    assert all(len(name) <= len(text) + 20 for name in stated_licenses(text))
