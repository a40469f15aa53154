from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schema.dependencies.records import PackageRecord, PackageType
from tests.workers.inventory.files import files
from workers.inventory.dotnet import dotnet_packages, locked_dotnet_packages
from workers.inventory.notes import Notes

PATH = "app/Shop.deps.json"
LIBRARIES = {
    "Shop/1.0.0": {"type": "project", "serviceable": False, "sha512": ""},
    "Newtonsoft.Json/12.0.1": {
        "type": "package",
        "serviceable": True,
        "sha512": "sha512-x",
        "path": "newtonsoft.json/12.0.1",
    },
    "runtimepack.Microsoft.NETCore.App.Runtime.linux-x64/6.0.1": {"type": "runtimepack", "serviceable": False},
    "System.Private.Uri/1.0": {"type": "reference"},
}
LOCK = {
    "version": 1,
    "dependencies": {
        "net6.0": {
            "Newtonsoft.Json": {"type": "Direct", "requested": "[12.0.1, )", "resolved": "12.0.1", "contentHash": "x"},
            "Serilog": {"type": "Transitive", "resolved": "2.10.0"},
            "shop.core": {"type": "Project", "dependencies": {"Serilog": "2.10.0"}},
        },
        "net6.0/linux-x64": {"Native": {"type": "Transitive", "resolved": "1.0.0"}},
    },
}


def read(document: Any, path: str = PATH) -> list[PackageRecord]:
    return list(dotnet_packages(files({path: json.dumps(document)}, 1), Notes()))


def locked(*paths: str) -> list[tuple[str, str]]:
    found = locked_dotnet_packages(files({path: json.dumps(LOCK) for path in paths}), Notes())
    return [(each.name, each.version) for each in found]


def test_an_application() -> None:
    newtonsoft, runtime = read({"runtimeTarget": {"name": ".NETCoreApp,Version=v6.0"}, "libraries": LIBRARIES})
    assert newtonsoft == PackageRecord(
        name="Newtonsoft.Json",
        version="12.0.1",
        type=PackageType.NUGET,
        ecosystem="NuGet",
        source_name="newtonsoft.json",
        source_version="12.0.1",
        purl="pkg:nuget/Newtonsoft.Json@12.0.1",
        path=PATH,
        layer_digest=f"sha256:{1:064x}",
        layer_index=1,
    )
    assert (runtime.name, runtime.version) == ("Microsoft.NETCore.App.Runtime.linux-x64", "6.0.1")


def test_a_lock_file() -> None:
    assert locked("src/packages.lock.json") == [
        ("Newtonsoft.Json", "12.0.1"),
        ("Serilog", "2.10.0"),
        ("Native", "1.0.0"),
    ]


def test_a_lock_file_says_nothing_more_beside_what_was_built() -> None:
    assert locked("app/packages.lock.json", PATH) == []


values = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*LIBRARIES, "/", ""]), values) | values)
def test_no_document_makes_it_raise(document: Any) -> None:
    read({"libraries": document})
    content = {"packages.lock.json": json.dumps({"dependencies": {"net6.0": document}})}
    list(locked_dotnet_packages(files(content), Notes()))


@settings(deadline=None)
@given(st.binary())
def test_nothing_makes_it_raise(content: bytes) -> None:
    list(dotnet_packages(files({PATH: content}), Notes()))
