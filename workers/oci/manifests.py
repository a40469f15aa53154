"""Manifests, indexes and configurations: OCI image specification 1.1 and Docker's image manifest version 2, schema 2.

Pure: bytes in, values out. Every document comes from outside, so each value is checked for its type before it is used,
and a digest is checked before the bytes behind it are read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import orjson

from schema.scans.failures import FailureCode, ScanFailure
from workers.oci.limits import ImageLimits, exceeded

MANIFEST_OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX_OCI = "application/vnd.oci.image.index.v1+json"
CONFIG_OCI = "application/vnd.oci.image.config.v1+json"
LAYER_OCI = "application/vnd.oci.image.layer.v1.tar"
MANIFESTS = (MANIFEST_OCI, "application/vnd.docker.distribution.manifest.v2+json")
INDEXES = (INDEX_OCI, "application/vnd.docker.distribution.manifest.list.v2+json")
CONFIGS = (CONFIG_OCI, "application/vnd.docker.container.image.v1+json")
LAYERS = frozenset(
    {
        LAYER_OCI,
        f"{LAYER_OCI}+gzip",
        f"{LAYER_OCI}+zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
    }
)
_FOREIGN = ("application/vnd.docker.image.rootfs.foreign.", "application/vnd.oci.image.layer.nondistributable.")
_ATTESTATION = "vnd.docker.reference.type"  # the annotation BuildKit puts on provenance and SBOM manifests
_NESTED_INDEXES = 50  # fetched while looking for a platform
_LISTED = 20  # platforms named in a message

DIGEST_PATTERN = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_PLATFORM_PART = re.compile(r"[a-z0-9][a-z0-9._-]{0,18}")
_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386", "armhf": "arm"}
_IMPLIED_VARIANTS = {"amd64": "v1", "arm64": "v8"}  # the ones everybody leaves out


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """Where an image runs, in Go's words. `str` of it is "linux/amd64" or "linux/arm/v7"."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """PLATFORM_NOT_FOUND for what is not an operating system, an architecture and perhaps a variant."""
        parts = text.lower().split("/")
        if len(parts) not in {2, 3} or not all(_PLATFORM_PART.fullmatch(part) for part in parts):
            raise ScanFailure(
                FailureCode.PLATFORM_NOT_FOUND, "The platform does not look like linux/amd64 or linux/arm64/v8"
            )
        return cls.normalized(*parts)

    @classmethod
    def normalized(cls, os: str, architecture: str, variant: str = "") -> Self:
        """With the names and omissions of one spelling: x86_64 is amd64, arm64/v8 is arm64."""
        architecture = _ARCHITECTURES.get(architecture, architecture)
        if variant == _IMPLIED_VARIANTS.get(architecture):
            variant = ""
        return cls(os=os, architecture=architecture, variant=variant)

    def satisfies(self, wanted: Platform) -> bool:
        """A variant only tells two platforms apart where both have one: older tools left it out."""
        same = (self.os, self.architecture) == (wanted.os, wanted.architecture)
        return same and (not wanted.variant or not self.variant or self.variant == wanted.variant)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


DEFAULT_PLATFORM = Platform(os="linux", architecture="amd64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What points to a blob: verify the bytes against `digest` and `size` before use."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None  # None: not said, or said in words that are none
    annotations: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, value: object, subject: str) -> Self:
        """`subject` names the descriptor in a message: "the config"."""
        document = expect_object(value, subject)
        digest, size = document.get("digest"), document.get("size")
        media_type = document.get("mediaType", "")
        if not isinstance(digest, str) or not DIGEST_PATTERN.fullmatch(digest):
            raise invalid_image(f"{subject} has no sha256 or sha512 digest")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 63:
            raise invalid_image(f"{subject} has no size")
        if not isinstance(media_type, str):
            raise invalid_image(f"{subject} has a media type that is not text")
        return cls(
            media_type=media_type,
            digest=digest,
            size=size,
            platform=_platform(document.get("platform")),
            annotations=text_values(document.get("annotations")),
        )

    @property
    def is_attestation(self) -> bool:
        unknown = self.platform is not None and (self.platform.os, self.platform.architecture) == ("unknown", "unknown")
        return unknown or _ATTESTATION in self.annotations

    def verify(self, data: bytes) -> None:
        """DIGEST_MISMATCH unless these are the bytes described."""
        algorithm = self.digest.partition(":")[0]
        if len(data) != self.size or f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}" != self.digest:
            raise mismatch(self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """An image manifest: what has to be fetched to have the image."""

    raw: bytes
    media_type: str
    digest: str
    config: Descriptor
    layers: tuple[Descriptor, ...]

    @classmethod
    def parse(cls, raw: bytes, limits: ImageLimits) -> Self:
        """IMAGE_INVALID for what is no image, LIMIT_EXCEEDED for too many or too large layers by their own account."""
        document = parse_document(raw, limits)
        if "manifests" in document:
            raise invalid_image("an index stands where a manifest should be")
        config = Descriptor.parse(document.get("config"), "the config")
        if config.media_type not in CONFIGS:
            raise invalid_image(f"it is not a container image but {config.media_type[:100] or 'something untyped'}")
        if config.size > limits.manifest_bytes:
            raise exceeded("The image's config is larger", limits.manifest_bytes, "bytes")
        listed = expect_list(document.get("layers"), "the list of layers")
        if len(listed) > limits.layers:
            raise exceeded("The image has more", limits.layers, "layers")
        layers = tuple(Descriptor.parse(each, f"layer {number}") for number, each in enumerate(listed, 1))
        for number, layer in enumerate(layers, 1):
            _check_layer(layer.media_type, number)
        if config.size + sum(layer.size for layer in layers) > limits.total_bytes:
            raise exceeded("The image is larger", limits.total_bytes, "bytes")
        return cls(
            raw=raw,
            media_type=_declared_type(document) or MANIFEST_OCI,
            digest=f"sha256:{hashlib.sha256(raw).hexdigest()}",
            config=config,
            layers=layers,
        )


@dataclass(slots=True)
class _Search:
    limits: ImageLimits
    available: Callable[[str], bool]
    fetched: int = 0


def choose_manifest(
    raw: bytes,
    *,
    platform: str | None,
    limits: ImageLimits,
    available: Callable[[str], bool] = lambda _digest: True,
) -> Generator[Descriptor, bytes, Manifest]:
    """From a manifest, or an index of images for several platforms, to the one manifest wanted.

    A conversation without I/O: it yields the descriptor of a document it needs and is sent that document's bytes, which
    it verifies, so that the same rules serve a registry and a directory:

        search = choose_manifest(raw, platform="linux/arm64", limits=limits)
        wanted = next(search)
        while True:
            wanted = search.send(await fetch(wanted))   # StopIteration.value is the Manifest

    `available` leaves out manifests by digest, as an archive holds only some of those its index names. Without a
    `platform` it is linux/amd64, or else the only one there is; a manifest that is not in an index is taken as it is.
    Raises ScanFailure: PLATFORM_NOT_FOUND (and names those there are), IMAGE_INVALID, LIMIT_EXCEEDED, DIGEST_MISMATCH.
    """
    document = parse_document(raw, limits)
    if "manifests" not in document:
        return Manifest.parse(raw, limits)
    wanted = Platform.parse(platform) if platform is not None else None
    candidates = yield from _candidates(document, _Search(limits, available), depth=1)
    chosen = _select(candidates, wanted)
    data = yield _bounded(chosen, limits)
    chosen.verify(data)
    return Manifest.parse(data, limits)


def answer(search: Generator[Descriptor, bytes, Manifest], read: Callable[[Descriptor], bytes]) -> Manifest:
    """Runs `choose_manifest` with a function that reads a blob."""
    try:
        wanted = next(search)
        while True:
            wanted = search.send(read(wanted))
    except StopIteration as stop:
        manifest: Manifest = stop.value
        return manifest


def _candidates(
    document: Mapping[str, Any], search: _Search, *, depth: int
) -> Generator[Descriptor, bytes, list[Descriptor]]:
    """The manifests below an index. Digests are verified, so a cycle cannot be made; the depth would end one."""
    found: list[Descriptor] = []
    for descriptor in _descriptors(document):
        if descriptor.media_type not in INDEXES:
            if search.available(descriptor.digest):
                found.append(descriptor)
            continue
        if depth >= search.limits.index_depth:
            raise exceeded("The image's indexes are nested deeper", search.limits.index_depth, "levels")
        if not search.available(descriptor.digest):
            continue
        search.fetched += 1
        if search.fetched > _NESTED_INDEXES:
            raise exceeded("The image's index holds more", _NESTED_INDEXES, "indexes")
        raw = yield _bounded(descriptor, search.limits)
        descriptor.verify(raw)
        nested = parse_document(raw, search.limits)
        found += yield from _candidates(nested, search, depth=depth + 1)
    return found


def _descriptors(document: Mapping[str, Any]) -> list[Descriptor]:
    """The images and indexes an index lists; attestations and other artifacts are none."""
    listed = expect_list(document.get("manifests"), "the list of manifests")
    parsed = (Descriptor.parse(each, f"manifest {number} of the index") for number, each in enumerate(listed, 1))
    return [each for each in parsed if each.media_type in {*MANIFESTS, *INDEXES, ""} and not each.is_attestation]


def list_platforms(raw: bytes, limits: ImageLimits) -> list[Descriptor]:
    """The manifests an index lists that say for which platform they are; none of what is no index.

    IMAGE_INVALID for what is neither.
    """
    document = parse_json(raw, limits)
    if not isinstance(document, dict) or "manifests" not in document:
        return []  # also what is no image at all: whoever scans it will say so
    listed = _descriptors(parse_document(raw, limits))
    return [each for each in listed if each.media_type not in INDEXES and each.platform is not None]


def _select(candidates: list[Descriptor], wanted: Platform | None) -> Descriptor:
    target = wanted or DEFAULT_PLATFORM
    fitting = [each for each in candidates if each.platform is not None and each.platform.satisfies(target)]
    preferred = "v7" if target.architecture == "arm" else ""  # what "linux/arm" alone has come to mean
    for each in fitting:
        if each.platform is not None and each.platform.variant == (target.variant or preferred):
            return each
    if fitting:
        return fitting[0]
    if len(candidates) == 1 and (wanted is None or candidates[0].platform is None):
        return candidates[0]
    raise platform_not_found(target, [each.platform for each in candidates])


def platform_not_found(wanted: Platform, there: list[Platform | None]) -> ScanFailure:
    names = sorted({str(each) if each else "one without a platform" for each in there})
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    listed = ", ".join(names[:_LISTED]) + more if names else "none"
    return ScanFailure(
        FailureCode.PLATFORM_NOT_FOUND, f"There is no image for {wanted}; the platforms there are: {listed}"
    )


def _bounded(descriptor: Descriptor, limits: ImageLimits) -> Descriptor:
    if descriptor.size > limits.manifest_bytes:
        raise exceeded("A manifest is larger", limits.manifest_bytes, "bytes")
    return descriptor


def _check_layer(media_type: str, number: int) -> None:
    if media_type.startswith(_FOREIGN):
        raise invalid_image(
            f"layer {number} is a foreign layer, whose content is not part of the image; "
            "images based on Windows cannot be scanned"
        )
    if media_type not in LAYERS:
        raise invalid_image(f"layer {number} is not a file system layer but {media_type[:100] or 'something untyped'}")


def parse_document(raw: bytes, limits: ImageLimits) -> dict[str, Any]:
    """The JSON object of a manifest or index that is one and not the other, whatever its media type says."""
    document = expect_object(parse_json(raw, limits), "the manifest")
    is_index, is_manifest = "manifests" in document, "layers" in document or "config" in document
    declared = _declared_type(document)
    if is_index == is_manifest or declared in (INDEXES if is_manifest else MANIFESTS):
        if document.get("schemaVersion") == 1:
            raise invalid_image("it is in Docker's schema 1 of 2015; push it again with a current tool")
        raise invalid_image("it is neither an image manifest nor an index")
    return document


def parse_json(raw: bytes, limits: ImageLimits) -> object:
    if len(raw) > limits.manifest_bytes:
        raise exceeded("A manifest or config is larger", limits.manifest_bytes, "bytes")
    try:
        parsed: object = orjson.loads(raw)

    except orjson.JSONDecodeError:
        raise invalid_image("a manifest or config is not JSON") from None
    return parsed


def _declared_type(document: Mapping[str, Any]) -> str | None:
    declared = document.get("mediaType")
    return declared if isinstance(declared, str) and declared in {*MANIFESTS, *INDEXES} else None


def _platform(value: object) -> Platform | None:
    """The platform of a descriptor or config, None where it is missing or malformed."""
    if not isinstance(value, dict):
        return None
    parts = [value.get(key) or "" for key in ("os", "architecture", "variant")]
    if not all(isinstance(part, str) for part in parts):
        return None
    system, architecture, variant = parts
    if not _PLATFORM_PART.fullmatch(system) or not _PLATFORM_PART.fullmatch(architecture):
        return None
    return Platform.normalized(system, architecture, variant if _PLATFORM_PART.fullmatch(variant) else "")


def platform_of(config: Mapping[str, Any]) -> Platform | None:
    return _platform(dict(config))


def expect_object(value: object, subject: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid_image(f"{subject} is missing or not an object")
    return value


def expect_list(value: object, subject: str) -> list[Any]:
    if not isinstance(value, list):
        raise invalid_image(f"{subject} is missing or not a list")
    return value


def text_values(value: object) -> dict[str, str]:
    """The entries of an annotation or label map that are text; anything else says nothing."""
    if not isinstance(value, dict):
        return {}
    return {storable(key): storable(each) for key, each in value.items() if isinstance(each, str)}


def storable(text: str) -> str:
    """JSON may hold a NUL, text in PostgreSQL may not."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def invalid_image(problem: str) -> ScanFailure:
    return ScanFailure(FailureCode.IMAGE_INVALID, f"The image cannot be read: {problem}")


def mismatch(digest: str) -> ScanFailure:
    return ScanFailure(FailureCode.DIGEST_MISMATCH, f"The content of {digest} does not have that digest and size")
