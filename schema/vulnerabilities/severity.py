"""Severity: as a sort key, from a CVSS vector, and from the words feeds use for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from cvss import CVSS2, CVSS3, CVSS4  # type: ignore[import-untyped]  # the package has no annotations
from cvss.exceptions import CVSSError  # type: ignore[import-untyped]

from schema.vulnerabilities.records import Severity

_RANKS = {Severity.UNKNOWN: 0, Severity.LOW: 1, Severity.MEDIUM: 2, Severity.HIGH: 3, Severity.CRITICAL: 4}

_WORDS = {
    "critical": Severity.CRITICAL,
    "high": Severity.HIGH,
    "important": Severity.HIGH,  # Red Hat and its family, SUSE
    "medium": Severity.MEDIUM,
    "moderate": Severity.MEDIUM,  # GitHub, Red Hat
    "low": Severity.LOW,
    "minor": Severity.LOW,
    "negligible": Severity.LOW,  # Ubuntu: a flaw, but hardly worth a fix
    "unimportant": Severity.LOW,  # Debian: the same
}

# Lower bounds of the qualitative ratings: the scale of the CVSS 3.x and 4.0 specifications; NVD's for 2.0.
_BANDS = ((9.0, Severity.CRITICAL), (7.0, Severity.HIGH), (4.0, Severity.MEDIUM))
_BANDS_V2 = _BANDS[1:]

_MAX_VECTOR = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class CvssScore:
    """What a CVSS vector says. `version` is "2.0", "3.0", "3.1" or "4.0"; `score` is the base score, 0.0-10.0."""

    vector: str
    version: str
    score: float
    severity: Severity


def severity_rank(severity: Severity) -> int:
    """Higher is worse; UNKNOWN is lowest."""
    return _RANKS[severity]


def worst_severity(severities: Iterable[Severity]) -> Severity:
    """The highest of them, UNKNOWN if there is none."""
    return max(severities, key=severity_rank, default=Severity.UNKNOWN)


def severity_from_words(text: str) -> Severity | None:
    """The severity a feed states in words, None for words that state none ("not yet assigned", "untriaged").

    Debian marks an urgency that a person set with asterisks ("medium**").
    """
    return _WORDS.get(text.strip().rstrip("*").strip().lower())


def severity_of_score(score: float, *, version: str = "3.1") -> Severity:
    """The rating of a base score. 0.0 ("none") is LOW: somebody looked at it, so it is not UNKNOWN."""
    bands = _BANDS_V2 if version.startswith("2") else _BANDS
    return next((severity for bound, severity in bands if score >= bound), Severity.LOW)


@lru_cache(maxsize=8192)
def score_vector(text: str) -> CvssScore | None:
    """Scores a CVSS vector of any version; None for one that is malformed or of a version we do not know."""
    vector = text.strip().strip("()")
    if len(vector) > _MAX_VECTOR:
        return None
    try:
        version, score = _base_score(vector)
    # The package raises plain KeyErrors, too, for some metrics that do not belong together.
    except (CVSSError, KeyError, ValueError):
        return None
    return CvssScore(vector=vector, version=version, score=score, severity=severity_of_score(score, version=version))


def _base_score(vector: str) -> tuple[str, float]:
    if vector.startswith("CVSS:4.0/"):
        return "4.0", float(CVSS4(vector).base_score)
    if vector.startswith(("CVSS:3.0/", "CVSS:3.1/")):
        return vector[5:8], float(CVSS3(vector).base_score)
    return "2.0", float(CVSS2(vector.removeprefix("CVSS:2.0/")).base_score)


def choose_score(vectors: Iterable[str]) -> CvssScore | None:
    """The score to show where a flaw has several vectors: the newest CVSS version, of one version the highest score.

    Each version of the standard replaces the one before, and who adds a 4.0 vector has rated the flaw last and with the
    finer metrics. Tools that still show 3.1 first do so because feeds had nothing newer. Malformed vectors do not count.
    """
    scores = [score for vector in vectors if (score := score_vector(vector))]
    return max(scores, key=lambda score: (score.version, score.score), default=None)
