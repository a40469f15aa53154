"""Scans as people read them in a terminal. Takes the data of a GraphQL answer, whoever asked for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

SEVERITY_STYLES = {"CRITICAL": "bold red", "HIGH": "red", "MEDIUM": "yellow", "LOW": "green", "UNKNOWN": "dim"}
GRADE_STYLES = {"A": "bold green", "B": "bold cyan", "C": "bold yellow", "D": "bold red"}
ID_WIDTH = len("CVE-2024-123456")

SCAN_FIELDS = """
  id image digest platform status partial grade gradeReason riskScore packageCount durationMs failureReason
  counts { critical high medium low unknown total }
  engines {
    engine status provider message databaseDate findingCount packageCount
    coverage { ecosystem packages advisories covered sample }
  }
  findings(limit: 15) {
    items { cveId severity cvss sources package { name version type } fixedVersions path layerIndex }
    meta { total }
  }
"""


async def show_progress(events: AsyncIterator[Mapping[str, Any]], console: Console) -> None:
    """A bar that follows a scan's progress events to their end."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("Waiting for a worker", total=100)
        async for event in events:
            message = event.get("message") or event["phase"]
            progress.update(task, completed=event["progress"], description=escape(f"{message:<46.46}"))


def print_scan(scan: Mapping[str, Any], out: Console) -> None:
    """Verdict, findings by severity, the worst of them, and who said so on what data."""
    out.print(f"\n[bold]{escape(scan['image'])}[/]  {escape(scan['digest'] or '')}", highlight=False)
    if scan["status"] != "COMPLETE":
        out.print(f"[bold red]{scan['status']}[/]  {escape(scan['failureReason'] or '')}", highlight=False)
        return
    _print_verdict(scan, out)
    _print_findings(scan["findings"]["items"], scan["findings"]["meta"]["total"], out)
    _print_engines(scan["engines"], out)


def _print_verdict(scan: Mapping[str, Any], out: Console) -> None:
    grade = scan["grade"]
    if grade is None:
        out.print(f"[bold]No grade[/]: {escape(scan['gradeReason'] or '')}", highlight=False)
    else:
        style = GRADE_STYLES[grade]
        out.print(f"Grade [{style}]{grade}[/]   risk [bold]{scan['riskScore']}[/]/100", highlight=False)
    counts = scan["counts"]
    parts = [
        f"[{SEVERITY_STYLES[name.upper()]}]{counts[name]} {name}[/]"
        for name in ("critical", "high", "medium", "low", "unknown")
    ]
    out.print(
        f"{', '.join(parts)} in {scan['packageCount']} packages, {scan['durationMs'] / 1000:.1f} s", highlight=False
    )


def _print_findings(findings: Sequence[Mapping[str, Any]], total: int, out: Console) -> None:
    if not findings:
        return
    table = Table("Severity", box=None, pad_edge=False)
    table.add_column("Id", min_width=ID_WIDTH)
    for name in ("Package", "Installed", "Fixed in"):
        table.add_column(name, no_wrap=True)
    table.add_column("CVSS", justify="right")
    table.add_column("Layer", justify="right")
    for finding in findings:
        package = finding["package"]
        table.add_row(
            f"[{SEVERITY_STYLES[finding['severity']]}]{finding['severity']}[/]",
            escape(finding["cveId"]),
            escape(f"{package['name']} ({package['type']})"),
            escape(package["version"]),
            escape(finding["fixedVersions"][0]) if finding["fixedVersions"] else "-",
            "-" if finding["cvss"] is None else f"{finding['cvss']:.1f}",
            str(finding["layerIndex"]),
        )
    out.print()
    out.print(table)
    if total > len(findings):
        out.print(f"… and {total - len(findings)} more", highlight=False)


def _print_engines(engines: Sequence[Mapping[str, Any]], out: Console) -> None:
    table = Table("Engine", "Status", "Provider", "Data of", "Findings", "Packages", "Note", box=None, pad_edge=False)
    for run in engines:
        table.add_row(
            run["engine"],
            run["status"],
            run["provider"] or "-",
            (run["databaseDate"] or "-")[:10],
            str(run["findingCount"]),
            str(run["packageCount"]),
            escape(run["message"] or ""),
        )
    out.print()
    out.print(table)
    coverage = next((run["coverage"] for run in engines if run["coverage"]), ())
    for entry in coverage:
        note = f"{entry['advisories']} advisories" if entry["covered"] else "[red]no advisory data[/]"
        if entry["sample"]:
            note += " [yellow](a sample only: import full data before you trust a good grade)[/]"
        out.print(f"  {escape(entry['ecosystem'])}: {entry['packages']} packages, {note}", highlight=False)
