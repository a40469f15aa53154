from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schema.dependencies.records import PackageRecord, PackageType
from tests.workers.inventory.files import files
from workers.inventory.notes import Notes
from workers.inventory.php import locked_php_packages, php_packages

INSTALLED = "srv/app/vendor/composer/installed.json"
LOCK = "srv/app/composer.lock"
LOG: dict[str, Any] = {"name": "Psr/Log", "version": "v1.1.4", "version_normalized": "1.1.4.0", "license": ["MIT"]}
DUAL: dict[str, Any] = {"name": "acme/dual", "version": "2.0.0", "license": ["GPL-2.0+", "proprietary"]}


def read(document: Any, path: str = INSTALLED) -> list[PackageRecord]:
    return list(php_packages(files({path: json.dumps(document)}, 1), Notes()))


def test_an_installed_package() -> None:
    """Composer 2 writes an object, Composer 1 wrote the list alone."""
    expected = PackageRecord(
        name="Psr/Log",
        version="v1.1.4",
        type=PackageType.COMPOSER,
        ecosystem="Packagist",
        source_name="psr/log",
        source_version="v1.1.4",
        purl="pkg:composer/psr/log@v1.1.4",
        licenses=("MIT",),
        path=INSTALLED,
        layer_digest=f"sha256:{1:064x}",
        layer_index=1,
    )
    assert read({"packages": [LOG], "dev": True, "dev-package-names": ["psr/log"]}) == [expected]
    assert read([LOG]) == [expected]


def test_licences() -> None:
    assert read([DUAL])[0].licenses == ("GPL-2.0-or-later", "proprietary")
    assert read([{**DUAL, "license": "Apache 2.0"}])[0].licenses == ("Apache-2.0",)


def test_a_lock_file_without_what_is_for_development() -> None:
    lock = json.dumps({"packages": [LOG], "packages-dev": [DUAL]})
    assert [each.name for each in locked_php_packages(files({LOCK: lock}), Notes())] == ["Psr/Log"]


def test_a_lock_file_says_nothing_more_where_its_packages_are_installed() -> None:
    lock = json.dumps({"packages": [LOG, DUAL]})
    assert list(locked_php_packages(files({LOCK: lock, INSTALLED: json.dumps([LOG])}), Notes())) == []


values = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["name", "version", "license"]), values)) | values)
def test_no_document_makes_it_raise(document: Any) -> None:
    read(document)
    read({"packages": document})


@settings(deadline=None)
@given(st.binary())
def test_nothing_makes_it_raise(content: bytes) -> None:
    list(php_packages(files({INSTALLED: content, "vendor/composer/installed.json": b"[" + content}), Notes()))
