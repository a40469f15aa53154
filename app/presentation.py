"""Scans as people read them in a terminal. Takes what REST answers, whoever asked for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.client.answers import EngineRun, Finding, Scan

SEVERITY_STYLES = {"CRITICAL": "bold red", "HIGH": "red", "MEDIUM": "yellow", "LOW": "green", "UNKNOWN": "dim"}
GRADE_STYLES = {"A": "bold green", "B": "bold cyan", "C": "bold yellow", "D": "bold red"}
ID_WIDTH = len("CVE-2024-123456")
SHOWN_FINDINGS = 15


async def show_progress(events: AsyncIterator[Mapping[str, Any]], console: Console) -> None:
    """A bar that follows a scan's progress to its end; where nobody can watch a bar, a line for each phase."""
    if not console.is_terminal:
        phase = ""
        async for event in events:
            if event["phase"] != phase:
                phase = event["phase"]
                console.print(f"{event['progress']:3d} %  {escape(phase)}", highlight=False)
        return
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


def print_scan(scan: Scan, findings: Sequence[Finding], out: Console) -> None:
    """Verdict, findings by severity, the first of those given, and who said so on what data."""
    out.print(f"\n[bold]{escape(scan.image)}[/]  {escape(scan.digest or '')}", highlight=False)
    if scan.status != "COMPLETE":
        out.print(f"[bold red]{escape(scan.status)}[/]  {escape(scan.failure_reason or '')}", highlight=False)
        return
    _print_verdict(scan, out)
    _print_findings(findings, out)
    _print_engines(scan.engines, out)


def _print_verdict(scan: Scan, out: Console) -> None:
    if scan.compliance is None:
        out.print(f"[bold]No grade[/]: {escape(scan.grade_reason or '')}", highlight=False)
    else:
        style = GRADE_STYLES[scan.compliance]
        out.print(f"Grade [{style}]{scan.compliance}[/]   risk [bold]{scan.risk_score}[/]/100", highlight=False)
    counts = scan.counts
    parts = [
        f"[{SEVERITY_STYLES[name.upper()]}]{count} {name}[/]"
        for name, count in (
            ("critical", counts.critical),
            ("high", counts.high),
            ("medium", counts.medium),
            ("low", counts.low),
            ("unknown", counts.unknown),
        )
    ]
    seconds = (scan.duration or 0) / 1000
    out.print(f"{', '.join(parts)} in {scan.package_count} packages, {seconds:.1f} s", highlight=False)


def _print_findings(findings: Sequence[Finding], out: Console) -> None:
    if not findings:
        return
    table = Table("Severity", box=None, pad_edge=False)
    table.add_column("Id", min_width=ID_WIDTH)
    for name in ("Package", "Installed", "Fixed in"):
        table.add_column(name, no_wrap=True)
    table.add_column("CVSS", justify="right")
    table.add_column("Layer", justify="right")
    for finding in findings[:SHOWN_FINDINGS]:
        package = finding.package
        table.add_row(
            f"[{SEVERITY_STYLES[finding.severity]}]{finding.severity}[/]",
            escape(finding.cve_id),
            escape(f"{package.name} ({package.type})"),
            escape(package.version),
            escape(finding.fixed_versions[0]) if finding.fixed_versions else "-",
            "-" if finding.cvss is None else f"{finding.cvss:.1f}",
            str(finding.layer_index),
        )
    out.print()
    out.print(table)
    if len(findings) > SHOWN_FINDINGS:
        out.print(f"… and {len(findings) - SHOWN_FINDINGS} more", highlight=False)


def _print_engines(engines: Sequence[EngineRun], out: Console) -> None:
    table = Table("Engine", "Status", "Provider", "Data of", "Findings", "Packages", "Note", box=None, pad_edge=False)
    for run in engines:
        table.add_row(
            escape(run.engine),
            escape(run.status),
            escape(run.provider or "-"),
            escape((run.database_date or "-")[:10]),
            str(run.finding_count),
            str(run.package_count),
            escape(run.message or ""),
        )
    out.print()
    out.print(table)
    coverage = next((run.coverage for run in engines if run.coverage), ())
    for entry in coverage:
        note = f"{entry.advisories} advisories" if entry.covered else "[red]no advisory data[/]"
        if entry.sample:
            note += " [yellow](a sample only: import full data before you trust a good grade)[/]"
        out.print(f"  {escape(entry.ecosystem)}: {entry.packages} packages, {note}", highlight=False)
