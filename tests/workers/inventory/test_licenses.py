from __future__ import annotations

import pytest

from workers.inventory.licenses import spdx_license


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
