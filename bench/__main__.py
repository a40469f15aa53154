"""`python -m bench [--size small|full] [--write]`: runs every measurement and prints the figures."""

from __future__ import annotations

import argparse

from bench import advisories, execution, footprint, inventory, reading, scans, steps, storing, triggering
from bench.results import RESULTS, report

MEASUREMENTS = (execution, reading, steps, storing, triggering, footprint, scans, inventory, advisories)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--size", choices=("small", "full"), default="small")
    parser.add_argument("--write", action="store_true", help="add the figures to bench/RESULTS.md")
    given = parser.parse_args()
    results = [result for measurement in MEASUREMENTS for result in measurement.run(given.size)]
    text = report(results, given.size)
    print(text)
    if given.write:
        head, _, rest = RESULTS.read_text().partition("\n## ")
        RESULTS.write_text(f"{head}\n{text}" + (f"\n## {rest}" if rest else ""))


if __name__ == "__main__":
    main()
