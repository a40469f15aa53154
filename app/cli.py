"""The `harborguard` command. Results on stdout, progress and logs on stderr; exit 0 success, 1 error, 2 wrong usage.

`harborguard scan` has exit codes of its own (`app.client.policy.ExitCode`), and 1 for wrong usage: to a pipeline 2 says that
the image was judged.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from typer._completion_classes import completion_init  # else only reached by adding options to every command
from typer.completion import shell_complete
from typer.core import TyperCommand
from typer.exceptions import TyperException
from typer.main import get_command

from app.client.api import ApiError, connect
from app.client.policy import ExitCode, Policy
from app.client.results import Format, is_place
from app.client.scanning import Terminal, Wanted, request_for, scan_on_server
from app.client.uploading import STDIN, ReportFile, upload_report
from app.keys import MasterKeyError
from app.logging import configure_logging
from app.settings import LogFormat, LogLevel, Settings
from schema.kernel.errors import HarborGuardError
from schema.kernel.principal import Role
from schema.scans.formats import ReportFormat
from schema.scans.models import Engine
from schema.scans.trigger import ScanRequest
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.scores import Grade

T = TypeVar("T")
PIPED_COLUMNS = 160
PROGRAM = "harborguard"
COMPLETE_VARIABLE = "_HARBORGUARD_COMPLETE"
cli = typer.Typer(
    name=PROGRAM,
    help="Container-image security: scan images with several engines and act on one truth.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,  # `harborguard completion` prints it; what edits a person's shell files is theirs to do
    epilog="Start here: `harborguard serve`, then open the address it prints.",
)
keys = typer.Typer(
    help="API keys for pipelines, and the keys under which secrets are stored.",
    no_args_is_help=True,
    epilog="Example: `harborguard keys create build`",
)
advisories = typer.Typer(
    help="The advisory data that vulnerabilities are matched against.",
    no_args_is_help=True,
    epilog="Example: `harborguard advisories update debian`",
)
registries = typer.Typer(
    help="Registries and their credentials.",
    no_args_is_help=True,
    epilog="Example: `harborguard registries add acme ghcr.io`",
)
completion_init()
cli.add_typer(keys, name="keys")
cli.add_typer(advisories, name="advisories")
cli.add_typer(registries, name="registries")
progress_console = Console(stderr=True)
# A pipeline's log has no width: rich would take 80 columns and cut ids and severities short.
out = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_COLUMNS)


def settings_or_exit(code: int = 2) -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        for problem in error.errors():
            name = "HARBORGUARD_" + "_".join(str(part) for part in problem["loc"]).upper()
            progress_console.print(f"[red]{name}[/]: {problem['msg']}")
        raise typer.Exit(code) from None


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a command's work; an expected failure is one line on stderr and exit 1."""
    try:
        return asyncio.run(work)
    except HarborGuardError as error:
        progress_console.print(f"[red]{error.message}[/]", highlight=False)
        raise typer.Exit(1) from None
    except (OSError, ValueError, MasterKeyError, ApiError) as error:
        progress_console.print(f"[red]{error}[/]", highlight=False)
        raise typer.Exit(1) from None


async def until_told_to_stop(work: Coroutine[Any, Any, T]) -> T:
    """Ctrl-C, and SIGTERM, with which a CI system cancels its job, cancel the work; the shell is told 130 or 143.

    SIGINT is taken up although a shell has its background jobs ignore it: that is how a CI system runs us, too.
    """
    task = asyncio.ensure_future(work)
    told: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        told.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        if told:
            raise typer.Exit(128 + told[0]) from None
        raise


@cli.command(epilog="Example: `HARBORGUARD_PORT=9000 harborguard serve`")
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (HARBORGUARD_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (HARBORGUARD_PORT); 0 picks a free one.")] = None,
) -> None:
    """Serve GraphQL and REST; without Redis also work on scans in the same process."""
    from app.serving import serve as serve_forever  # noqa: PLC0415 -- `--help` must not wait for the whole product

    settings = settings_or_exit()
    changes = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = settings.model_copy(update=changes)
    configure_logging(level=settings.log_level, json=settings.log_format is LogFormat.JSON)
    run(serve_forever(settings))


@cli.command(epilog="Example: `HARBORGUARD_REDIS_URL=redis://redis harborguard worker`")
def worker() -> None:
    """Work on scans. Start as many as you like, on as many machines as you like."""
    from app.serving import work as work_forever  # noqa: PLC0415

    settings = settings_or_exit()
    if settings.embedded:
        progress_console.print(
            "[red]HARBORGUARD_REDIS_URL is not set[/]: without Redis `harborguard serve` works itself."
        )
        raise typer.Exit(2)
    configure_logging(level=settings.log_level, json=settings.log_format is LogFormat.JSON)
    run(work_forever(settings))


@cli.command(
    epilog="Example: `HARBORGUARD_URL=https://harborguard.example HARBORGUARD_API_KEY=hg_ak_… harborguard sensor`"
)
def sensor(
    server: Annotated[str | None, typer.Option(help="Server to work for (HARBORGUARD_URL).")] = None,
    name: Annotated[str | None, typer.Option(help="What it calls itself (HARBORGUARD_SENSOR_NAME).")] = None,
) -> None:
    """Scan images where they are, for a server elsewhere. It only makes connections, nobody makes one to it.

    The key is the one of its registry: `sensorApiKey` in the answer that creates a registry with the scan method `sensor`.
    """
    from app.sensor.running import run_sensor  # noqa: PLC0415

    settings = settings_or_exit()
    changes = {field: value for field, value in (("url", server), ("sensor_name", name)) if value is not None}
    settings = settings.model_copy(update=changes)
    _require_sense({"name the server with --server or HARBORGUARD_URL": not settings.url})
    configure_logging(level=settings.log_level, json=settings.log_format is LogFormat.JSON)
    run(until_told_to_stop(run_sensor(settings, _client_key(None, settings))))


@cli.command(epilog="Example: `harborguard setup --organization Acme --email you@example.com`")
def setup(
    organization: Annotated[str, typer.Option(help="Name of the organization.")],
    email: Annotated[str, typer.Option(help="The owner's e-mail address, to sign in with.")],
    name: Annotated[str, typer.Option(help="The owner's name.")] = "Owner",
    password: Annotated[
        str, typer.Option(prompt=True, confirmation_prompt=True, hide_input=True, help="At least 12 characters.")
    ] = "",
) -> None:
    """Create the first organization and its owner, instead of with the token that `serve` prints."""
    from app import administration  # noqa: PLC0415

    organization_id = run(
        administration.set_up(settings_or_exit(), organization=organization, email=email, name=name, password=password)
    )
    sys.stdout.write(f"{organization_id}\n")


@cli.command(epilog="Example: `harborguard migrate && systemctl restart harborguard`")
def migrate() -> None:
    """Bring the database to the schema of this version. `serve` and `worker` do this by themselves."""
    from app import administration  # noqa: PLC0415

    run(administration.migrate(settings_or_exit()))
    progress_console.print("The database is up to date.")


@keys.command("create", epilog="Example: `export HARBORGUARD_API_KEY=$(harborguard keys create build --role ci)`")
def create_key(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    role: Annotated[Role, typer.Option(help="What it may do.")] = Role.CI,
    organization: Annotated[str | None, typer.Option(help="Organization id; needed only if there are several.")] = None,
    expires_days: Annotated[int | None, typer.Option(min=1, max=3650, help="Days until it expires.")] = None,
) -> None:
    """Create an API key and print it, this once, on stdout."""
    from app import administration  # noqa: PLC0415

    secret = run(
        administration.create_key(
            settings_or_exit(), name=name, role=role, organization_id=organization, expires_days=expires_days
        )
    )
    sys.stdout.write(f"{secret}\n")
    progress_console.print("Keep it now: it is not shown again.")


@keys.command("rotate", epilog="Example: `HARBORGUARD_KEY_PROVIDER=vault,file harborguard keys rotate`")
def rotate_keys(
    *,
    every: Annotated[
        bool,
        typer.Option("--all", help="Also what the newest key has wrapped already, such as under an older version."),
    ] = False,
    batch: Annotated[int, typer.Option(min=1, max=5000, help="Secrets at a time.")] = 500,
) -> None:
    """Wrap the keys of all stored secrets with the newest key, while servers run. Run it again to go on after a stop."""
    from app import administration  # noqa: PLC0415

    done = run(
        administration.rotate_keys(settings_or_exit(), every=every, batch=batch, console=progress_console, out=out)
    )
    if not done:
        raise typer.Exit(1)


_ACCEPT_SHRINK = typer.Option("--accept-shrink", help="Accept a feed that has lost more than half of its records.")


@advisories.command("import", epilog="Example: `harborguard advisories import all.zip --feed osv:PyPI`")
def import_advisories(
    source: Annotated[str, typer.Argument(help="An OSV file, a directory tree of them, a zip dump, or its https URL.")],
    *,
    feed: Annotated[
        str | None,
        typer.Option(help="The feed this is all of, in its own form; replaces what is stored of it."),
    ] = None,
    accept_shrink: Annotated[bool, _ACCEPT_SHRINK] = False,
) -> None:
    """Import advisories, in OSV form (JSON or YAML) or as a whole feed. Importing again replaces, it never doubles."""
    from app import administration  # noqa: PLC0415

    summary = run(
        administration.import_advisories(
            settings_or_exit(), source, console=progress_console, feed_name=feed, accept_shrink=accept_shrink
        )
    )
    out.print(
        f"{summary.records} records imported, {summary.rejected} rejected; newest change: "
        f"{summary.database_date:%Y-%m-%d}"
        if summary.database_date
        else "No records found."
    )
    if not summary.records:
        raise typer.Exit(1)


@advisories.command("update", epilog="Example: `harborguard advisories update debian osv:PyPI osv:npm`")
def update_advisories(
    feeds: Annotated[
        list[str] | None,
        typer.Argument(
            help="osv:ECOSYSTEM, debian, alpine:RELEASE, ubuntu, redhat, nvd:YEAR, kev or epss. "
            "Default: those of HARBORGUARD_ADVISORY_FEEDS."
        ),
    ] = None,
    *,
    accept_shrink: Annotated[bool, _ACCEPT_SHRINK] = False,
) -> None:
    """Fetch feeds that have changed and switch to them. Exit 1 when one failed; its data stays as it was."""
    from app import administration  # noqa: PLC0415

    succeeded = run(
        administration.update_advisories(
            settings_or_exit(), feeds or (), console=progress_console, out=out, accept_shrink=accept_shrink
        )
    )
    if not succeeded:
        raise typer.Exit(1)


@advisories.command("status", epilog="Example: `harborguard advisories status`")
def advisory_status() -> None:
    """Show what advisory data there is, by ecosystem and by feed, how old it is, and what went wrong."""
    from app import administration  # noqa: PLC0415

    run(administration.print_advisory_status(settings_or_exit(), out))


@registries.command(
    "add", epilog="Example: `echo $TOKEN | harborguard registries add acme ghcr.io --username bot --password-stdin`"
)
def add_registry(
    name: Annotated[str, typer.Argument(help="A name for it.")],
    host: Annotated[str, typer.Argument(help="Host and port as in image references, like ghcr.io or 127.0.0.1:5000.")],
    username: Annotated[str | None, typer.Option(help="User to pull as.")] = None,
    *,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    insecure: Annotated[bool, typer.Option("--insecure", help="Plain HTTP.")] = False,
    organization: Annotated[str | None, typer.Option(help="Organization id; needed only if there are several.")] = None,
) -> None:
    """Store a registry and its credentials, sealed. Images of that host are then pulled with them."""
    from app import administration  # noqa: PLC0415

    password = sys.stdin.readline().rstrip("\n") if password_stdin else None
    registry_id = run(
        administration.add_registry(
            settings_or_exit(),
            name=name,
            host=host,
            username=username,
            password=password,
            insecure=insecure,
            organization_id=organization,
        )
    )
    sys.stdout.write(f"{registry_id}\n")


class ScanCommand(TyperCommand):
    """Wrong usage is an error like any other here: 2 means that the policy failed, and nothing else."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _usage_as_error():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with _usage_as_error():
            return super().invoke(ctx)


@contextmanager
def _usage_as_error() -> Iterator[None]:
    try:
        yield
    except TyperException as error:
        error.exit_code = ExitCode.ERROR
        raise


@cli.command(
    cls=ScanCommand,
    epilog="Examples: `harborguard scan ./image.tar` · "
    "`harborguard scan ghcr.io/acme/api:1.4 --wait --fail-on high --only-fixed` · "
    "`harborguard scan ./image.tar --name acme/api:1.4 --wait --fail-on high --format sarif -o harborguard.sarif` · "
    "`harborguard scan --resume scn-… --fail-on critical`\n\n"
    "Exit codes: 0 clean, 1 error (also: a policy and nobody could judge the image), 2 the policy failed, 3 timed out, "
    "4 clean as far as engines went, but some failed; 130 and 143 interrupted.",
)
def scan(
    image: Annotated[
        str | None,
        typer.Argument(help="A reference, or an OCI layout directory or image archive on this machine."),
    ] = None,
    *,
    engine: Annotated[list[Engine] | None, typer.Option(help="Engine; may be repeated. Default: all six.")] = None,
    name: Annotated[str | None, typer.Option(help="Reference to file a local image under.")] = None,
    platform: Annotated[str | None, typer.Option(help="Platform of a multi-platform image.")] = None,
    organization: Annotated[
        str | None, typer.Option(help="Organization id; needed only without a server and if there are several.")
    ] = None,
    server: Annotated[
        str | None, typer.Option(help="Server to ask (HARBORGUARD_URL). Without one the scan runs right here.")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Scan right here, whatever HARBORGUARD_URL says.")] = False,
    api_key: Annotated[
        str | None,
        typer.Option(
            help="API key for the server. Every user of this machine can read it in the list of processes: prefer "
            "HARBORGUARD_API_KEY or HARBORGUARD_API_KEY_FILE."
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Wait for the result. Without it a server's scan id is printed, and that is all."),
    ] = False,
    resume: Annotated[
        str | None, typer.Option(metavar="SCAN_ID", help="Wait for, and judge, a scan that was started before.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=1, help="Give up after so many seconds; a server's scan goes on.")
    ] = 1800,
    fail_on: Annotated[
        Severity | None,
        typer.Option(case_sensitive=False, help="Fail on an open finding of this severity or worse; unknown: on any."),
    ] = None,
    fail_on_grade: Annotated[
        Grade | None, typer.Option(case_sensitive=False, help="Fail on this grade or a worse one.")
    ] = None,
    only_fixed: Annotated[
        bool, typer.Option("--only-fixed", help="With --fail-on: only findings that a newer version fixes.")
    ] = False,
    new_only: Annotated[
        bool,
        typer.Option(
            "--new-only",
            help="With --fail-on: only findings that the scan of the same tag before did not have: no "
            "such flaw in a package of that type and name, in whatever version.",
        ),
    ] = False,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="With --fail-on: leave out a CVE, by any of its ids; repeatable."),
    ] = None,
    allow_ungraded: Annotated[
        bool,
        typer.Option(
            "--allow-ungraded",
            help="Let an image without a grade pass. Without it that is an error, because nobody could judge the image.",
        ),
    ] = False,
    form: Annotated[
        Format,
        typer.Option("--format", help="Form of the result."),
    ] = Format.TABLE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File for the result, replaced in one step; default stdout.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on stderr but what went wrong.")] = False,
) -> None:
    """Scan an image, on a server or right here, print what was found, and judge it by a policy."""
    policy = Policy(
        fail_on=fail_on,
        fail_on_grade=fail_on_grade,
        only_fixed=only_fixed,
        new_only=new_only,
        ignored=tuple(ignore or ()),
        allow_ungraded=allow_ungraded,
    )
    settings = settings_or_exit(ExitCode.ERROR)
    address = "" if local else server or settings.url
    _require_sense(
        {
            "give either an image or --resume": (image is None) == (resume is None),
            "--only-fixed, --new-only and --ignore need --fail-on": fail_on is None
            and (only_fixed or new_only or ignore),
            "--server and --local exclude each other": server and local,
            "no file can be written to where --output says": output and not is_place(output),
            "--organization is for scans without a server; there the key decides": address and organization,
            "a policy, --format and --output need --wait": address
            and not (wait or resume)
            and (policy.judges or output or form is not Format.TABLE),
        }
    )
    terminal = Terminal(out=out, progress=Console(stderr=True, quiet=quiet), errors=progress_console)
    wanted = Wanted(policy=policy, format=form, output=output)
    configure_logging(level=LogLevel.ERROR, json=False)  # words for people; what a worker logs is in the scan's own log
    subject = resume or request_for(image or "", engines=tuple(engine or Engine), name=name, platform=platform)
    if address:
        key = _client_key(api_key, settings)
        work = _scan_on_server(address, key, subject, wanted if wait or resume else None, terminal, seconds=timeout)
    else:
        work = _scan_here(settings, subject, wanted, terminal, organization=organization, seconds=timeout)
    raise typer.Exit(run(until_told_to_stop(work)))


def _require_sense(problems: Mapping[str, object]) -> None:
    for problem, holds in problems.items():
        if holds:
            raise typer.BadParameter(problem)


def _client_key(given: str | None, settings: Settings) -> str:
    """An empty one counts as none: that is how CI systems hand out a secret they do not have."""
    secret = given or (settings.api_key.get_secret_value() if settings.api_key else "")
    if secret:
        return secret
    if not settings.api_key_file:
        raise typer.BadParameter("a server wants a key: set HARBORGUARD_API_KEY or HARBORGUARD_API_KEY_FILE")
    try:
        return Path(settings.api_key_file).read_text().strip()
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"HARBORGUARD_API_KEY_FILE: {error}") from None


async def _scan_on_server(
    address: str, key: str, subject: ScanRequest | str, wanted: Wanted | None, terminal: Terminal, *, seconds: float
) -> ExitCode:
    async with connect(address, key, tell=terminal.tell) as api:
        return await scan_on_server(api, subject, wanted, terminal, seconds=seconds)


async def _scan_here(
    settings: Settings,
    subject: ScanRequest | str,
    wanted: Wanted,
    terminal: Terminal,
    *,
    organization: str | None,
    seconds: float,
) -> ExitCode:
    from app import local_scan  # noqa: PLC0415

    return await local_scan.scan(settings, subject, wanted, terminal, organization_id=organization, seconds=seconds)


@cli.command(
    cls=ScanCommand,
    epilog="Examples: `harborguard upload trivy.json --image ghcr.io/acme/api:1.4` · "
    "`syft ghcr.io/acme/api:1.4 -o cyclonedx-json | harborguard upload - --image ghcr.io/acme/api:1.4 --cyclonedx --wait`"
    "\n\nExit codes: 0 taken, with --wait also read; 1 error; 3 timed out; 4 only some of it could be read.",
)
def upload(
    report: Annotated[Path, typer.Argument(metavar="FILE", help="The report, as JSON; `-` for stdin.")],
    *,
    image: Annotated[str, typer.Option(help="Reference of the image it is about.")],
    trivy: Annotated[bool, typer.Option("--trivy", help="It is Trivy's JSON.")] = False,
    grype: Annotated[bool, typer.Option("--grype", help="It is Grype's JSON.")] = False,
    syft: Annotated[bool, typer.Option("--syft", help="It is Syft's JSON.")] = False,
    osv: Annotated[bool, typer.Option("--osv", help="It is OSV-Scanner's JSON.")] = False,
    sarif: Annotated[bool, typer.Option("--sarif", help="It is SARIF 2.1.0.")] = False,
    cyclonedx: Annotated[bool, typer.Option("--cyclonedx", help="It is CycloneDX JSON.")] = False,
    spdx: Annotated[bool, typer.Option("--spdx", help="It is SPDX JSON.")] = False,
    form: Annotated[
        ReportFormat | None, typer.Option("--format", help="What it is. By default that is looked for in the report.")
    ] = None,
    digest: Annotated[
        str | None, typer.Option(help="Manifest digest of the image, where the report does not tell: sha256:….")
    ] = None,
    platform: Annotated[str | None, typer.Option(help="Platform of the image, like linux/amd64.")] = None,
    server: Annotated[str | None, typer.Option(help="Server to send it to (HARBORGUARD_URL).")] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            help="API key for the server. Every user of this machine can read it in the list of processes: prefer "
            "HARBORGUARD_API_KEY or HARBORGUARD_API_KEY_FILE."
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is read, and print what it holds.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Give up after so many seconds.")] = 1800,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on stderr but what went wrong.")] = False,
) -> None:
    """Bring what another tool found to a server, without the image. Prints JSON."""
    flags = {
        "trivy": trivy,
        "grype": grype,
        "syft": syft,
        "osv": osv,
        "sarif": sarif,
        "cyclonedx": cyclonedx,
        "spdx": spdx,
    }
    stated = {ReportFormat(each) for each, is_set in flags.items() if is_set} | {form} - {None}
    settings = settings_or_exit(ExitCode.ERROR)
    address = server or settings.url
    _require_sense(
        {
            "a report has one format": len(stated) > 1,
            "there is no such file": report != STDIN and not report.is_file(),
            "name the server with --server or HARBORGUARD_URL": not address,
        }
    )
    given = ReportFile(path=report, image=image, format=next(iter(stated), None), digest=digest, platform=platform)
    terminal = Terminal(out=out, progress=Console(stderr=True, quiet=quiet), errors=progress_console)
    key = _client_key(api_key, settings)
    raise typer.Exit(run(until_told_to_stop(_upload(address, key, given, terminal, wait=wait, seconds=timeout))))


async def _upload(
    address: str, key: str, report: ReportFile, terminal: Terminal, *, wait: bool, seconds: float
) -> ExitCode:
    async with connect(address, key, tell=terminal.tell) as api:
        return await upload_report(api, report, terminal, wait=wait, seconds=seconds)


@cli.command(epilog="Examples: `harborguard engines` · `HARBORGUARD_ENGINE_TRIVY=off harborguard engines --json`")
def engines(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False) -> None:
    """Show which tools are found, in which version, how old their databases are, and who answers for each engine."""
    from app import diagnosis  # noqa: PLC0415

    tools = run(diagnosis.look_for_tools(settings_or_exit()))
    if as_json:
        sys.stdout.write(diagnosis.tools_as_json(tools))
    else:
        out.print(diagnosis.tools_as_table(tools))


@cli.command(epilog="Example: `harborguard doctor || echo 'something needs attention'`")
def doctor() -> None:
    """Check what HarborGuard needs, change nothing, and say what to do about each problem. Exit 1 if there is one."""
    from app import diagnosis  # noqa: PLC0415

    checks = run(diagnosis.examine(settings_or_exit()))
    for check in checks:
        out.print(diagnosis.check_as_text(check), highlight=False)
    if any(check.advice for check in checks):
        raise typer.Exit(1)


@cli.command(epilog="Example: `harborguard demo --directory var/demo`")
def demo(
    directory: Annotated[Path, typer.Option(help="Where the demo keeps its files.")] = Path("var/demo"),
) -> None:
    """Build a real image, serve, scan it over REST with a fresh key, show what was found, and stop again."""
    from app.demo.tour import tour  # noqa: PLC0415

    run(tour(directory, out))


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@cli.command(
    epilog="Examples: `source <(harborguard completion bash)` · `harborguard completion zsh > ~/.zfunc/_harborguard` · "
    "`harborguard completion fish > ~/.config/fish/completions/harborguard.fish`"
)
def completion(shell: Annotated[Shell, typer.Argument(help="The shell it is for.")]) -> None:
    """Print what completes commands and options in a shell."""
    shell_complete(get_command(cli), {}, PROGRAM, COMPLETE_VARIABLE, f"source_{shell}")


def main() -> None:
    cli(prog_name=PROGRAM, complete_var=COMPLETE_VARIABLE)


if __name__ == "__main__":
    main()
