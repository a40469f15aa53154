from __future__ import annotations

import io
import json
import struct
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.dependencies.records import PackageRecord, PackageType
from tests.factories.jars import jar, manifest, pom
from tests.workers.inventory.files import file
from workers.inventory import java
from workers.inventory.java import java_packages, read_archive
from workers.inventory.notes import Notes

MANIFEST = "META-INF/MANIFEST.MF"


def excerpt(archive: bytes, name: str = "app.jar") -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(orjson.dumps(read_archive(io.BytesIO(archive), f"opt/{name}", len(archive))))
    return found


def found(archive: bytes, name: str = "app.jar") -> list[tuple[str, str, str]]:
    return [(group, artifact, version) for group, artifact, version, *_ in excerpt(archive, name)["java"]]


def packages(archive: bytes, name: str = "app.jar") -> list[PackageRecord]:
    return list(java_packages([(file(f"opt/{name}", "", 4), excerpt(archive, name))], Notes()))


def test_a_jar_of_maven() -> None:
    described = jar(
        {
            MANIFEST: manifest(Bundle_License="https://www.apache.org/licenses/LICENSE-2.0.txt"),
            **pom("com.google.guava", "guava", "31.1-jre"),
        }
    )
    assert packages(described, "guava-31.1-jre.jar") == [
        PackageRecord(
            name="com.google.guava:guava",
            version="31.1-jre",
            type=PackageType.MAVEN,
            ecosystem="Maven",
            source_name="com.google.guava:guava",
            source_version="31.1-jre",
            purl="pkg:maven/com.google.guava/guava@31.1-jre",
            licenses=("Apache-2.0",),
            path="opt/guava-31.1-jre.jar",
            layer_digest=f"sha256:{4:064x}",
            layer_index=4,
        )
    ]


def test_a_fat_jar_of_spring_boot() -> None:
    """The jars inside are stored, not packed; a start script stands in front."""
    core = jar({MANIFEST: manifest(Implementation_Title="spring-core", Implementation_Version="5.3.17")})
    log4j = jar(pom("org.apache.logging.log4j", "log4j-core", "2.14.1"))
    fat = jar(
        {
            MANIFEST: manifest(Implementation_Title="shop", Implementation_Version="1.0.0", Main_Class="a.JarLauncher"),
            "BOOT-INF/lib/spring-core-5.3.17.jar": core,
            "BOOT-INF/lib/log4j-core-2.14.1.jar": log4j,
            **pom("com.example", "shop", "1.0.0"),
        },
        packed=False,
        before=b"#!/bin/bash\nexec java -jar $0\n",
    )
    assert [(each.name, each.version, each.path) for each in packages(fat)] == [
        ("org.springframework:spring-core", "5.3.17", "opt/app.jar!/BOOT-INF/lib/spring-core-5.3.17.jar"),
        ("org.apache.logging.log4j:log4j-core", "2.14.1", "opt/app.jar!/BOOT-INF/lib/log4j-core-2.14.1.jar"),
        ("com.example:shop", "1.0.0", "opt/app.jar"),
    ]


def test_archives_within_archives() -> None:
    inner = jar(pom("g", "inner", "1"))
    war = jar({"WEB-INF/lib/inner-1.jar": inner, **pom("g", "web", "2")})
    ear = jar({"web.war": war, **pom("g", "shop", "3")})
    assert {each.path for each in packages(ear, "shop.ear")} == {
        "opt/shop.ear",
        "opt/shop.ear!/web.war",
        "opt/shop.ear!/web.war!/WEB-INF/lib/inner-1.jar",
    }


def test_a_shaded_jar_is_all_that_went_into_it() -> None:
    shaded = jar({**pom("com.example", "tool", "1.0"), **pom("g", "a", "2"), **pom("g", "b", "3")})
    assert found(shaded, "tool-1.0.jar") == [("com.example", "tool", "1.0"), ("g", "a", "2"), ("g", "b", "3")]


def test_a_shaded_jar_without_a_description_of_its_own() -> None:
    shaded = jar(pom("g", "a", "2"))
    assert found(shaded, "tool-1.0.jar") == [("g", "a", "2"), ("", "tool", "1.0")]
    assert found(shaded, "renamed.jar") == [("g", "a", "2")]


@pytest.mark.parametrize(
    ("name", "attributes", "expected"),
    [
        (
            "spring-webmvc-5.3.17.jar",
            {"Implementation_Version": "5.3.17"},
            ("org.springframework", "spring-webmvc", "5.3.17"),
        ),
        ("spring-boot-starter-web-2.6.5.jar", {}, ("org.springframework.boot", "spring-boot-starter-web", "2.6.5")),
        ("tomcat-embed-core-9.0.60.jar", {}, ("org.apache.tomcat.embed", "tomcat-embed-core", "9.0.60")),
        ("log4j-1.2.17.jar", {}, ("log4j", "log4j", "1.2.17")),
        ("log4j-1.2-api-2.14.1.jar", {}, ("", "log4j-1.2-api", "2.14.1")),
        ("netty-all-4.1.48.Final.jar", {}, ("", "netty-all", "4.1.48.Final")),
        ("x-native-4.1.94.Final-linux-x86_64.jar", {}, ("", "x-native", "4.1.94.Final")),
        ("a-1.0-SNAPSHOT.jar", {}, ("", "a", "1.0-SNAPSHOT")),
        ("a-1.0-odd.name.jar", {"Implementation_Version": "1.0-odd.name"}, ("", "a", "1.0-odd.name")),
        (
            "commons-text-1.9.jar",
            {"Bundle_SymbolicName": "org.apache.commons.commons-text;singleton:=true", "Bundle_Version": "1.9.0"},
            ("org.apache.commons", "commons-text", "1.9"),
        ),
        (
            "commons-math3-3.6.1.jar",
            {"Bundle_SymbolicName": "org.apache.commons.math3"},
            ("org.apache.commons", "commons-math3", "3.6.1"),
        ),
        ("a-1.jar", {"Implementation_Vendor_Id": "org.example"}, ("org.example", "a", "1")),
        ("a-1.jar", {"Implementation_Vendor_Id": "Example Corp."}, ("", "a", "1")),
        ("renamed.jar", {"Implementation_Title": "shop", "Implementation_Version": "2.0"}, ("", "shop", "2.0")),
        ("renamed.jar", {"Implementation_Title": "The Shop", "Implementation_Version": "2.0"}, ("", "renamed", "2.0")),
        (
            "renamed.jar",
            {"Bundle_SymbolicName": "org.example.shop", "Bundle_Version": "2.0"},
            ("org.example", "shop", "2.0"),
        ),
    ],
)
def test_a_jar_without_a_pom(name: str, attributes: dict[str, str], expected: tuple[str, str, str]) -> None:
    assert found(jar({MANIFEST: manifest(**attributes)}), name) == [expected]


def test_without_a_version_it_is_no_package() -> None:
    assert found(jar({MANIFEST: manifest(Implementation_Title="shop")}), "shop.jar") == []
    assert found(jar({"a.class": b""}), "shop.jar") == []
    assert found(jar(pom("g", "a", "${project.version}")), "shop.jar") == []


def test_long_attributes_are_put_together() -> None:
    title = "a-very-long-name-of-an-artifact-that-does-not-fit-into-a-line-of-72-bytes-of-a-manifest"
    assert found(jar({MANIFEST: manifest(Implementation_Title=title, Implementation_Version="1")}), "x.jar") == [
        ("", title, "1")
    ]


def test_licences_of_a_bundle() -> None:
    stated = 'EPL-2.0;link="https://www.eclipse.org/legal/epl-v20.html",Apache License, <<EXTERNAL>>'
    [package] = packages(jar({MANIFEST: manifest(Bundle_License=stated)}), "a-1.jar")
    assert package.licenses == ("EPL-2.0", "Apache License")


def test_nesting_has_an_end() -> None:
    archive = jar(pom("g", "a0", "1"))
    for depth in range(1, 8):
        archive = jar({f"a{depth - 1}-1.jar": archive, **pom("g", f"a{depth}", "1")}, packed=False)
    told = excerpt(archive)
    assert [each[1] for each in told["java"]] == ["a3", "a4", "a5", "a6", "a7"]
    assert told["problems"] == [
        "a6-1.jar!/a5-1.jar!/a4-1.jar!/a3-1.jar!/a2-1.jar lies too deep, or behind too many others, to be looked into"
    ]


def test_a_bomb_costs_no_more_than_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jars of zeros, packed a thousand to one, in jars: what was found is kept, what is left out is said."""
    monkeypatch.setattr(java, "_RATIO_GRACE", 10_000_000)
    zeros = bytes(30_000_000)
    archive = jar(
        {**pom("g", "first", "1"), "zeros.jar": zeros, "other-1.jar": jar({MANIFEST: "a"}), MANIFEST: manifest()}
    )
    told = excerpt(archive)
    assert [each[:3] for each in told["java"]] == [["g", "first", "1"]]
    assert told["problems"] == [
        "zeros.jar unpacks to more than is read",
        "other-1.jar unpacks to more than is read",
        "unpacks to more than is read",
    ]


def test_a_manifest_without_end_is_cut() -> None:
    attributes = manifest(Implementation_Version="1.0")
    assert found(jar({MANIFEST: attributes + "x" * 5_000_000}), "a.jar") == [("", "a", "1.0")]


def test_sizes_that_lie() -> None:
    archive = bytearray(jar(pom("g", "a", "1")))
    struct.pack_into("<2L", archive, archive.rindex(b"PK\1\2") + 20, 5, 0x7FFFFFFF)
    assert found(bytes(archive), "a.jar") == []
    struct.pack_into("<L", archive, archive.rindex(b"PK\1\2") + 20, 0x7FFFFFFF)
    assert found(bytes(archive), "a.jar") == [("g", "a", "1")]  # the data says where it ends


def test_a_damaged_jar_costs_only_itself() -> None:
    told = excerpt(
        jar({"BOOT-INF/lib/bad-1.jar": b"PK no archive", "BOOT-INF/lib/good-1.jar": jar(pom("g", "good", "1"))})
    )
    assert [each[1] for each in told["java"]] == ["good"]
    assert told["problems"] == ["BOOT-INF/lib/bad-1.jar has no directory"]


def test_too_many_artifacts_are_cut_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "_ARTIFACTS", 2)
    told = excerpt(jar({**pom("g", "a", "1"), **pom("g", "b", "1"), **pom("g", "c", "1")}))
    assert len(told["java"]) == 2
    assert told["problems"] == ["holds more than 2 artifacts"]


names = st.sampled_from([MANIFEST, *pom("g", "a", "1"), "a-1.jar", "x.class"])


@settings(deadline=None)
@given(st.dictionaries(names, st.binary(max_size=300) | st.just(jar(pom("g", "a", "1")))), st.text(max_size=40))
def test_no_member_makes_it_raise(members: dict[str, bytes], name: str) -> None:
    told = excerpt(jar(members), f"{name}.jar")
    list(java_packages([(file("a.jar", ""), told)], Notes()))


@settings(deadline=None)
@given(st.text(alphabet="abcdefgh-.1234_jre ", max_size=255))
def test_no_file_name_makes_it_raise_or_hang(name: str) -> None:
    assert json.dumps(found(jar({MANIFEST: manifest(Implementation_Version="1")}), f"{name}.jar"))


def test_a_version_that_does_not_end_is_none() -> None:
    assert found(jar({}), f"{'a-1' * 80}.jar") == []
