"""The `harborguard` command. Results on stdout, progress and logs on stderr; exit 0 success, 1 error, 2 wrong usage."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console

from app.keys import MasterKeyError
from app.logging import configure_logging
from app.settings import LogFormat, Settings
from schema.kernel.errors import HarborGuardError
from schema.kernel.principal import Role
from schema.scans.models import Engine

T = TypeVar("T")
PIPED_COLUMNS = 160
cli = typer.Typer(
    name="harborguard",
    help="Container-image security: scan images with several engines and act on one truth.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    epilog="Start here: `harborguard serve`, then open the address it prints.",
)
keys = typer.Typer(help="API keys for pipelines.", no_args_is_help=True)
advisories = typer.Typer(help="The advisory data that vulnerabilities are matched against.", no_args_is_help=True)
registries = typer.Typer(help="Registries and their credentials.", no_args_is_help=True)
cli.add_typer(keys, name="keys")
cli.add_typer(advisories, name="advisories")
cli.add_typer(registries, name="registries")
progress_console = Console(stderr=True)
# A pipeline's log has no width: rich would take 80 columns and cut ids and severities short.
out = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_COLUMNS)


def settings_or_exit() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        for problem in error.errors():
            name = "HARBORGUARD_" + "_".join(str(part) for part in problem["loc"]).upper()
            progress_console.print(f"[red]{name}[/]: {problem['msg']}")
        raise typer.Exit(2) from None


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a command's work; an expected failure is one line on stderr and exit 1."""
    try:
        return asyncio.run(work)
    except HarborGuardError as error:
        progress_console.print(f"[red]{error.message}[/]", highlight=False)
        raise typer.Exit(1) from None
    except (OSError, ValueError, MasterKeyError) as error:
        progress_console.print(f"[red]{error}[/]", highlight=False)
        raise typer.Exit(1) from None


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


@cli.command()
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
        f"{summary.records} advisories imported, {summary.rejected} rejected; newest change: "
        f"{summary.database_date:%Y-%m-%d}"
        if summary.database_date
        else "No advisories found."
    )
    if not summary.records:
        raise typer.Exit(1)


@advisories.command("update", epilog="Example: `harborguard advisories update debian osv:PyPI osv:npm`")
def update_advisories(
    feeds: Annotated[
        list[str] | None,
        typer.Argument(
            help="osv:ECOSYSTEM, debian, alpine:RELEASE, ubuntu or redhat. Default: those of HARBORGUARD_ADVISORY_FEEDS."
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


@advisories.command("status")
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


@cli.command(epilog="Examples: `harborguard scan ./image.tar` · `harborguard scan ghcr.io/acme/api:1.4`")
def scan(
    image: Annotated[
        str, typer.Argument(help="A reference, or an OCI layout directory or image archive on this machine.")
    ],
    engine: Annotated[list[Engine] | None, typer.Option(help="Engine; may be repeated. Default: all six.")] = None,
    name: Annotated[str | None, typer.Option(help="Reference to file a local image under.")] = None,
    platform: Annotated[str | None, typer.Option(help="Platform of a multi-platform image.")] = None,
    organization: Annotated[str | None, typer.Option(help="Organization id; needed only if there are several.")] = None,
) -> None:
    """Scan an image right here, without a server, and print what was found. Exit 1 when the scan fails."""
    from app import local_scan  # noqa: PLC0415

    succeeded = run(
        local_scan.scan(
            settings_or_exit(),
            local_scan.request_for(image, engines=tuple(engine or Engine), name=name, platform=platform),
            organization_id=organization,
            out=out,
            progress=progress_console,
        )
    )
    if not succeeded:
        raise typer.Exit(1)


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


@cli.command()
def demo(
    directory: Annotated[Path, typer.Option(help="Where the demo keeps its files.")] = Path("var/demo"),
) -> None:
    """Build a real image, serve, scan it over REST with a fresh key, show what was found, and stop again."""
    from app.demo.tour import tour  # noqa: PLC0415

    run(tour(directory, out))


def main() -> None:
    cli()


if __name__ == "__main__":
    main()
