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
class SecretRecord:
    """A secret that lies in a layer or in the config.

    `masked` is all that is ever shown of it. `deleted` means a later layer removes the file: it is gone from the running
    container and still in the image. `path` and layer as in MisconfigurationRecord; `line` is 1 for the first line, None
    where the file has no lines.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class WastedFile:
    """A path that takes space in several layers although one copy at most is seen. Bytes over all copies."""

    path: str
    count: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerUsage:
    """What one layer brings. Bytes as unpacked; counts of files by what they did to the layers below."""

    index: int
    diff_id: str
    bytes: int
    added: int
    changed: int
    removed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEfficiency:
    """Dive's figures. `efficiency` is 0.0-1.0; `wasted_files` the largest first."""

    total_bytes: int
    wasted_bytes: int
    efficiency: float
    layers: tuple[LayerUsage, ...]
    wasted_files: tuple[WastedFile, ...]
