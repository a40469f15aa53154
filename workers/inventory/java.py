"""Java archives: jar, war, ear and their relatives, with the archives inside of them.

What an archive is, in this order:

1. Every `META-INF/maven/**/pom.properties` is an artifact. A shaded jar has several; that of the jar itself is the one
   whose artifact is the jar's file name, or the only one where the file name has no version.
2. A jar without one of its own is named by its file name where that has the form of Maven's repository,
   `artifact-version.jar`; else by its manifest (Implementation-Title, Bundle-SymbolicName); else by its file name. The
   version is that of the file name, else of the manifest (Implementation-Version, Bundle-Version). Without a version it is
   no package.
3. Its group is known for some families whose build leaves no pom.properties (Spring, Tomcat, Kotlin); else it is the
   manifest's Implementation-Vendor-Id, else its Bundle-SymbolicName without the artifact. Without a group it is listed
   under the artifact alone, which no advisory names.

`name` is `group:artifact`, as advisories are filed. `path` of a nested archive is `outer.jar!/inner.jar`, as Java writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from tempfile import SpooledTemporaryFile
from typing import IO, Any, NamedTuple, cast

from schema.dependencies.records import PackageRecord, PackageType
from workers.inventory.licenses import spdx_license
from workers.inventory.notes import Notes, printable
from workers.inventory.packages import language_package
from workers.inventory.zip import Allowance, AllowanceSpentError, DamagedArchiveError, Member, ZipArchive
from workers.oci.files import ImageFile
from workers.oci.limits import GIB, MIB

ECOSYSTEM = "Maven"
KEY = "java"
ENDINGS = (".jar", ".war", ".ear", ".par", ".sar", ".nar", ".kar", ".jpi", ".hpi", ".lpkg")
_DEPTH = 4  # archives within archives: an ear has wars, these have jars, and a few of them a jar of their own
_NESTED = 10_000  # archives in one file
_ARTIFACTS = 20_000  # of one file
_PROBLEMS = 10  # of one file that are noted
_UNPACKED = GIB  # bytes unpacked of one file, nested archives included
_RATIO, _RATIO_GRACE = 200, 64 * MIB  # unpacked to packed, as for layers
_METADATA = MIB  # bytes of a manifest or a pom.properties
_IN_MEMORY = 4 * MIB
_SHOWN = 200

_MANIFEST = "META-INF/MANIFEST.MF"
_POM = re.compile(r"META-INF/maven/.*/pom\.properties")
_PROPERTY = re.compile(r"^[ \t]*(groupId|artifactId|version)[ \t]*[=:][ \t]*(\S+)[ \t]*$", re.MULTILINE)
_ATTRIBUTE = re.compile(r"^([A-Za-z0-9_-]{1,70}):[ ]?(.*)$", re.MULTILINE)
_TOKEN = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_VERSION = re.compile(r"[A-Za-z0-9_.+~-]{1,200}")
# artifact-version, maybe with a classifier behind it. A part of letters belongs to the version only if it is known to: else
# log4j-1.2-api-2.14.1 would be version 1.2 of log4j.
_FILE_NAME = re.compile(
    r"(.+?)-(\d[\w.+~]*(?:-(?:\d|alpha|android|b\d|beta|final|ga|incubating|java|jdk|jre|m\d|rc|release|sp\d|snapshot)"
    r"[\w.]*)*)(?:-[A-Za-z][\w-]*)?",
    re.IGNORECASE | re.ASCII,
)
_FILE_NAME_SIZE = 255
_GROUP = re.compile(r"[a-z][a-z0-9_-]*(?:\.[a-z0-9_-]+)+", re.IGNORECASE)
# Artifacts, or beginnings of them that end in a hyphen, to the group they are published under.
_GROUPS = {
    "ant": "org.apache.ant",
    "ant-launcher": "org.apache.ant",
    "asm": "org.ow2.asm",
    "asm-": "org.ow2.asm",
    "caffeine": "com.github.ben-manes.caffeine",
    "checker-qual": "org.checkerframework",
    "commons-beanutils": "commons-beanutils",
    "commons-chain": "commons-chain",
    "commons-cli": "commons-cli",
    "commons-codec": "commons-codec",
    "commons-collections": "commons-collections",
    "commons-configuration": "commons-configuration",
    "commons-dbcp": "commons-dbcp",
    "commons-digester": "commons-digester",
    "commons-discovery": "commons-discovery",
    "commons-fileupload": "commons-fileupload",
    "commons-httpclient": "commons-httpclient",
    "commons-io": "commons-io",
    "commons-lang": "commons-lang",
    "commons-logging": "commons-logging",
    "commons-net": "commons-net",
    "commons-pool": "commons-pool",
    "commons-validator": "commons-validator",
    "groovy": "org.codehaus.groovy",
    "groovy-": "org.codehaus.groovy",
    "hamcrest": "org.hamcrest",
    "hamcrest-": "org.hamcrest",
    "jakarta.servlet-api": "jakarta.servlet",
    "java-diff-utils": "io.github.java-diff-utils",
    "jna": "net.java.dev.jna",
    "jna-platform": "net.java.dev.jna",
    "joda-time": "joda-time",
    "json-path": "com.jayway.jsonpath",
    "jsr305": "com.google.code.findbugs",
    "junit": "junit",
    "junit-jupiter": "org.junit.jupiter",
    "junit-jupiter-": "org.junit.jupiter",
    "junit-platform-": "org.junit.platform",
    "kotlin-": "org.jetbrains.kotlin",
    "kotlin-logging-jvm": "io.github.oshai",
    "kotlinx-coroutines-": "org.jetbrains.kotlinx",
    "log4j": "log4j",
    "micrometer-": "io.micrometer",
    "okhttp": "com.squareup.okhttp3",
    "okio": "com.squareup.okio",
    "opentelemetry-": "io.opentelemetry",
    "org.eclipse.osgi": "org.eclipse.platform",
    "picocli": "info.picocli",
    "plexus-classworlds": "org.codehaus.plexus",
    "plexus-utils": "org.codehaus.plexus",
    "reactive-streams": "org.reactivestreams",
    "reactor-core": "io.projectreactor",
    "reactor-netty-": "io.projectreactor.netty",
    "slf4j-": "org.slf4j",
    "spring-aop": "org.springframework",
    "spring-aspects": "org.springframework",
    "spring-batch-": "org.springframework.batch",
    "spring-beans": "org.springframework",
    "spring-boot": "org.springframework.boot",
    "spring-boot-": "org.springframework.boot",
    "spring-cloud-": "org.springframework.cloud",
    "spring-context": "org.springframework",
    "spring-context-": "org.springframework",
    "spring-core": "org.springframework",
    "spring-data-": "org.springframework.data",
    "spring-expression": "org.springframework",
    "spring-instrument": "org.springframework",
    "spring-integration-": "org.springframework.integration",
    "spring-jcl": "org.springframework",
    "spring-jdbc": "org.springframework",
    "spring-jms": "org.springframework",
    "spring-kafka": "org.springframework.kafka",
    "spring-messaging": "org.springframework",
    "spring-orm": "org.springframework",
    "spring-oxm": "org.springframework",
    "spring-security-": "org.springframework.security",
    "spring-session-": "org.springframework.session",
    "spring-test": "org.springframework",
    "spring-tx": "org.springframework",
    "spring-web": "org.springframework",
    "spring-webflux": "org.springframework",
    "spring-webmvc": "org.springframework",
    "spring-websocket": "org.springframework",
    "tomcat-": "org.apache.tomcat",
    "tomcat-embed-": "org.apache.tomcat.embed",
    "velocity": "org.apache.velocity",
    "velocity-engine-core": "org.apache.velocity",
    "velocity-tools": "org.apache.velocity",
    "xml-apis": "xml-apis",
}


class Artifact(NamedTuple):
    """`inside` is the way from the file to the nested archive it was found in, "" for the file itself."""

    group: str  # "" where it is not known
    artifact: str
    version: str
    licenses: tuple[str, ...] = ()
    inside: str = ""


class _Pom(NamedTuple):
    group: str
    artifact: str
    version: str


def java_packages(found: Iterable[tuple[ImageFile, Any]], notes: Notes) -> Iterator[PackageRecord]:
    """`found` are files and what `read_archive` gave for them."""
    for file, excerpt in found:
        for each in excerpt[KEY]:
            group, artifact, version, licenses, inside = each
            package = language_package(
                PackageType.MAVEN,
                name := f"{group}:{artifact}" if group else artifact,
                version,
                purl=("maven", group or None, artifact),
                ecosystem=ECOSYSTEM,
                source_name=name,
                licenses=licenses,
                file=replace(file, path=f"{file.path}!/{inside}") if inside else file,
                notes=notes,
            )
            if package is not None:
                yield package


def read_archive(file: IO[bytes], path: str, size: int) -> Mapping[str, list[Any]]:
    """The artifacts in an archive of that many bytes and what was wrong with it, as an excerpt."""
    search = _Search(Allowance(min(_UNPACKED, _RATIO_GRACE + _RATIO * size)))
    search.look(file, path.rpartition("/")[2], "", 0)
    return {KEY: [tuple(each) for each in search.artifacts], "problems": list(search.problems)}


@dataclass(slots=True)
class _Search:
    allowance: Allowance
    artifacts: list[Artifact] = field(default_factory=list)
    problems: dict[str, None] = field(default_factory=dict)
    nested: int = 0

    def look(self, file: IO[bytes], name: str, inside: str, depth: int) -> None:
        manifest: Mapping[str, str] = {}
        poms: list[_Pom] = []
        try:
            archive = ZipArchive(file)
        except DamagedArchiveError as problem:
            self._note(inside, str(problem))
            return
        try:
            for member in archive:
                if member.name == _MANIFEST:
                    manifest = read_manifest(self._read(archive, member, inside))
                elif _POM.fullmatch(member.name):
                    poms += _read_pom(self._read(archive, member, inside))
                elif member.name.endswith(ENDINGS):
                    self._enter(archive, member, inside, depth)
        except DamagedArchiveError as problem:
            self._note(inside, str(problem))
        for artifact in identify(name, manifest, poms):
            if len(self.artifacts) == _ARTIFACTS:
                self._note("", f"holds more than {_ARTIFACTS:,} artifacts")
                return
            self.artifacts.append(artifact._replace(inside=inside))

    def _enter(self, archive: ZipArchive, member: Member, inside: str, depth: int) -> None:
        inner = f"{inside}!/{member.name}" if inside else member.name
        self.nested += 1
        if depth == _DEPTH or self.nested > _NESTED:
            self._note(inner, "lies too deep, or behind too many others, to be looked into")
            return
        with SpooledTemporaryFile(_IN_MEMORY) as copy:
            try:
                for block in archive.unpack(member, self.allowance):
                    copy.write(block)
            except (DamagedArchiveError, AllowanceSpentError) as problem:
                self._note(inner, str(problem))
                return
            self.look(cast("IO[bytes]", copy), member.name.rpartition("/")[2], inner, depth + 1)

    def _read(self, archive: ZipArchive, member: Member, inside: str) -> str:
        content = b""
        try:
            for block in archive.unpack(member, self.allowance):
                content += block
                if len(content) > _METADATA:
                    break
        except (DamagedArchiveError, AllowanceSpentError) as problem:
            self._note(inside, str(problem))
        return content[:_METADATA].decode("utf-8", "replace")

    def _note(self, inside: str, problem: str) -> None:
        if len(self.problems) < _PROBLEMS:
            self.problems[f"{printable(inside)[:_SHOWN]} {problem}".lstrip()] = None


def read_manifest(content: str) -> dict[str, str]:
    """The main attributes. A line that begins with a space goes on with the one above it, in the middle of a word."""
    main = content.replace("\r\n", "\n").partition("\n\n")[0].replace("\n ", "")
    return {match[1]: match[2].strip() for match in _ATTRIBUTE.finditer(main)}


def identify(file_name: str, manifest: Mapping[str, str], poms: Iterable[_Pom]) -> Iterator[Artifact]:
    """The artifacts of one archive, by the rules above."""
    stem = file_name.rpartition(".")[0][:_FILE_NAME_SIZE]
    artifact, version = _from_file_name(stem, manifest)
    licenses = tuple(_licenses(manifest.get("Bundle-License", "")))
    own = False
    known = list(dict.fromkeys(poms))
    for pom in known:
        is_own = pom.artifact in {artifact, stem} or stem == f"{pom.artifact}-{pom.version}"
        is_own = is_own or (len(known) == 1 and not version)
        own = own or is_own
        yield Artifact(*pom, licenses if is_own else ())
    if own:
        return
    artifact = artifact or _from_manifest(manifest) or stem
    version = version or _version(manifest)
    if version and _TOKEN.fullmatch(artifact) and _VERSION.fullmatch(version):
        yield Artifact(_group(artifact, manifest), artifact, version, licenses)


def _read_pom(content: str) -> Iterator[_Pom]:
    stated = {match[1]: match[2] for match in _PROPERTY.finditer(content)}
    pom = _Pom(*(stated.get(key, "") for key in ("groupId", "artifactId", "version")))
    # A version can be what a build tool failed to fill in: ${project.version}.
    if _TOKEN.fullmatch(pom.group) and _TOKEN.fullmatch(pom.artifact) and _VERSION.fullmatch(pom.version):
        yield pom


def _from_file_name(stem: str, manifest: Mapping[str, str]) -> tuple[str, str]:
    """(artifact, version), empty where the name has no version."""
    stated = _version(manifest)
    if stated and stem.endswith(f"-{stated}"):
        return stem.removesuffix(f"-{stated}"), stated
    match = _FILE_NAME.fullmatch(stem)
    return (match[1], match[2]) if match else ("", "")


def _version(manifest: Mapping[str, str]) -> str:
    return next(filter(None, map(manifest.get, ("Implementation-Version", "Bundle-Version", "Plugin-Version"))), "")


def _from_manifest(manifest: Mapping[str, str]) -> str:
    title = manifest.get("Implementation-Title", "")
    if _TOKEN.fullmatch(title):
        return title
    return _symbolic_name(manifest).rpartition(".")[2]


def _symbolic_name(manifest: Mapping[str, str]) -> str:
    return manifest.get("Bundle-SymbolicName", "").partition(";")[0].strip()


def _group(artifact: str, manifest: Mapping[str, str]) -> str:
    beginnings = (artifact[: at + 1] for at in range(len(artifact) - 1, 0, -1) if artifact[at] == "-")
    if (known := next((_GROUPS[each] for each in (artifact, *beginnings) if each in _GROUPS), None)) is not None:
        return known
    vendor, symbolic = manifest.get("Implementation-Vendor-Id", ""), _symbolic_name(manifest)
    if _GROUP.fullmatch(vendor):
        return vendor
    above, _, last = symbolic.rpartition(".")
    symbolic = symbolic.removesuffix(f".{artifact}") if symbolic.endswith(f".{artifact}") else symbolic
    if artifact.endswith(last) and symbolic != artifact and above.count(".") and len(symbolic) > len(above):
        symbolic = above  # org.apache.commons of org.apache.commons.lang3, the artifact commons-lang3
    return symbolic if _GROUP.fullmatch(symbolic) else ""


def _licenses(stated: str) -> Iterator[str]:
    """Names or addresses, each maybe with attributes behind a semicolon (OSGi Core, Bundle-License)."""
    for each in stated.split(","):
        if (name := each.partition(";")[0].strip().strip('"')) and name != "<<EXTERNAL>>":
            yield spdx_license(name)
