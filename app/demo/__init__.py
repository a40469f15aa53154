"""What the demonstration scans: an image built here from a description, and a small sample of real advisories."""

from __future__ import annotations

from pathlib import Path

# A directory of OSV records, one YAML document a file, by ecosystem.
SAMPLE_ADVISORIES = Path(__file__).parent / "advisories"
