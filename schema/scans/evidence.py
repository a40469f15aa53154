"""What engines find beside packages and vulnerabilities: misconfigurations, exposed secrets, wasted space. As values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schema.vulnerabilities.records import Severity


class CheckLevel(StrEnum):
    """How much a failed configuration check matters, in Dockle's words. Published, so append-only."""

    FATAL = "FATAL"
    WARN = "WARN"
    INFO = "INFO"


@dataclass(frozen=True, slots=True, kw_only=True)
class MisconfigurationRecord:
    """One failed check of an image's config, history or files.

    `check_id` is the published id of the check ("CIS-DI-0001", "DKL-DI-0005"); `evidence` says what was found, a line
    each, with secrets masked. `path` is the file in the image without a leading slash, "" for what the config says; the
    layer is that of the file, "" and -1 without one.
    """

    check_id: str
    title: str
    level: CheckLevel
    severity: Severity
    evidence: tuple[str, ...]
    remediation: str
    path: str = ""
    layer_digest: str = ""
    layer_index: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOutcome:
    """A configuration check that could be decided for this image. Without failures it passed.

    `failures` counts all; of a check that fails very often only the first are listed as records.
    """

    check_id: str
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRecord:
    """A secret that lies in a layer or in the config.

    `masked` is all that is ever shown of it. `deleted` means a later layer removes or replaces the file: it is gone from
    the running container and still in the image. `path` and layer as in MisconfigurationRecord, and the lowest of several
    layers; `place` says where the config holds it ("ENV API_KEY", "LABEL token", "history step 3"), "" for a file.
    `line` is 1 for the first line, None where there are no lines.
    """

    rule: str  # "aws-access-key-id"
    title: str
    severity: Severity
    path: str
    line: int | None
    masked: str
    layer_digest: str
    layer_index: int
    deleted: bool = False
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WastedFile:
    """A path that takes space in several layers although one copy at most is seen.

    `bytes` over all copies; `count` is how often layers name it, deletions included.
    """

    path: str
    count: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerUsage:
    """What one layer brings. Bytes of its files; counts of files by what the layer did to those below."""

    index: int
    diff_id: str
    bytes: int
    added: int
    changed: int
    removed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEfficiency:
    """Dive's figures. `efficiency` is 0.0-1.0; `wasted_files` the largest first, and no more than can be shown."""

    total_bytes: int
    wasted_bytes: int
    efficiency: float
    layers: tuple[LayerUsage, ...]
    wasted_files: tuple[WastedFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceKeys:
    """What a scan's results depend on beside the image, as hashes: while both are the same, so are the results.

    `evidence` stands for who was asked what, with versions and dates of databases; `advisories` for the native provider's
    advisory data, None where it judged nothing.
    """

    evidence: str
    advisories: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationEvidence:
    """What the native provider says of an image's configuration, most severe first. `warnings` tell what it left out."""

    checks: tuple[CheckOutcome, ...]
    misconfigurations: tuple[MisconfigurationRecord, ...]
    secrets: tuple[SecretRecord, ...]
    warnings: tuple[str, ...] = ()
