"""Why a scan ended FAILED, in words a person understands.

The code is part of the contract (`failureCode` on a scan); the message names the image and what to do about it.
"""

from __future__ import annotations

from enum import StrEnum


class FailureCode(StrEnum):
    """Append-only: pipelines branch on these."""

    IMAGE_NOT_FOUND = "IMAGE_NOT_FOUND"  # the registry or the archive has no such image
    REGISTRY_UNAUTHORIZED = "REGISTRY_UNAUTHORIZED"  # credentials missing or refused
    REGISTRY_UNREACHABLE = "REGISTRY_UNREACHABLE"  # no connection, a time-out, or repeated 5xx
    REGISTRY_PROTOCOL = "REGISTRY_PROTOCOL"  # the registry's answer is not OCI distribution
    ADDRESS_BLOCKED = "ADDRESS_BLOCKED"  # the operator does not allow connections to that address
    PLATFORM_NOT_FOUND = "PLATFORM_NOT_FOUND"  # an index without the wanted platform
    IMAGE_INVALID = "IMAGE_INVALID"  # manifest, config or archive is malformed or truncated
    DIGEST_MISMATCH = "DIGEST_MISMATCH"  # a blob's bytes are not what its digest says
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"  # a limit of size, count, ratio, depth or time was hit
    UNSAFE_ARCHIVE = "UNSAFE_ARCHIVE"  # an entry that tries to leave its place: traversal, links, devices
    ENGINES_FAILED = "ENGINES_FAILED"  # no engine produced a result
    INTERRUPTED = "INTERRUPTED"  # workers died on every attempt
    INTERNAL = "INTERNAL"  # a defect of ours; the log has the details under the scan's id
    REPORT_INVALID = "REPORT_INVALID"  # an imported report is malformed, or of a format or version that is not read
    SENSOR_FAILED = "SENSOR_FAILED"  # the sensor that had the scan gave up on it


class ScanFailure(Exception):  # noqa: N818 -- the field says "failure"; an engine's failure is a result, not a bug
    """Ends a scan (or one engine run) with a code and a reason. Never carries a credential or a server path."""

    def __init__(self, code: FailureCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
