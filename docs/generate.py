"""`python -m docs.generate` writes the reference pages from the code; a test fails while one of them is stale."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from graphql import GraphQLSchema
from pydantic.fields import FieldInfo
from typer import Context
from typer.cli import get_docs_for_click
from typer.main import get_command

from app.cli import cli
from app.settings import GIB, MIB, Settings
from compat_rest.endpoints import Endpoint, read_documents
from compat_rest.routes import ROUTES, Envelope
from schema.build import build_schema
from schema.kernel.operations import Policy
from schema.kernel.principal import ROLE_LEVEL, ROLE_MATRIX, Role, holds, lowest_role, permissions_of
from workers.configuration.checks import CHECKS
from workers.secrets.rules import RULES
from workers.secrets.search import FILE_BYTES, PROBE_BYTES

REFERENCE = Path(__file__).parent / "reference"
_NOTE = "<!-- Written by `make docs` from {source}. Do not edit. -->\n\n"
_ANSWERS = {Envelope.FILE: "a download", Envelope.EVENTS: "server-sent events", Envelope.EMPTY: "nothing"}


def configuration() -> str:
    """Every setting: its environment variable, type, default and description."""
    intro = (
        "Settings come from environment variables, else from `harborguard.toml` in the working directory, else from the\n"
        "defaults. In the file a name is written in lower case and without the prefix: `HARBORGUARD_PORT=9000` is\n"
        "`port = 9000`. An unknown name in the file and a value that does not fit stop the process with exit code 2 and\n"
        "the name of the setting. Lists are written with commas in a variable.\n\n"
    )
    rows = [
        (f"`HARBORGUARD_{name.upper()}`", _kind(field), _default(field), field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    return f"# Configuration\n\n{intro}{_table(('Variable', 'Type', 'Default', 'Meaning'), rows)}"


def _kind(field: FieldInfo) -> str:
    annotation: Any = field.annotation
    names = {"bool": "true or false", "int": "whole number", "float": "number"}
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    return names.get(getattr(annotation, "__name__", ""), "networks" if "Network" in str(annotation) else "text")


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value in ("", ()):
        return "-"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int) and value >= MIB:
        return f"`{value}` ({value // GIB} GiB)" if value % GIB == 0 else f"`{value}` ({value // MIB} MiB)"
    return f"`{value}`"


def commands() -> str:
    """Every command of `harborguard`, as its own `--help` says it."""
    command = get_command(cli)
    text: str = get_docs_for_click(obj=command, ctx=Context(command), name="harborguard", title="Command line")
    return text.replace("```console", "```text").strip() + "\n"


def schema_language() -> str:
    return build_schema().declared.as_str() + "\n"


def routes() -> str:
    """Every route of the REST table with what it demands."""
    intro = (
        "Each route is one named GraphQL operation in `compat_rest/operations/`. The conventions they share are in\n"
        "[REST](../rest.md), the errors in [errors](errors). Every call also counts against the general budget\n"
        "(`HARBORGUARD_RATE_LIMIT_PER_MINUTE`); a family in the last column has a budget of its own on top.\n\n"
        "`POST` routes marked with * honour `Idempotency-Key`. Outside the table: `GET /api/health`, `GET /api/ready`,\n"
        "`GET /metrics`, `GET /schema.graphql`, `/graphql`, and what shows all this to programs and people: `/openapi.json`,\n"
        "`/openapi-3.0.json`, `/openapi/harborguard-v1.yaml`, `/docs` and `/docs/swagger`.\n"
    )
    graphql: GraphQLSchema = build_schema().graphql
    documents = read_documents()
    endpoints = [Endpoint.bind(route, graphql, documents) for route in ROUTES]
    header = ("Route", "Operation", "Permission", "Lowest role", "Success", "Budget")
    sections = []
    for tag in dict.fromkeys(route.tag for route in ROUTES):
        mine = [endpoint for endpoint in endpoints if endpoint.route.tag == tag]
        rows = [_route_row(endpoint) for endpoint in mine]
        sections.append(f"## {tag}\n\n{_table(header, rows)}{_parameters(mine)}")
    return f"# REST routes\n\n{intro}\n" + "\n".join(sections)


def _route_row(endpoint: Endpoint) -> tuple[str, ...]:
    route, policy = endpoint.route, endpoint.operation.policy
    status = 204 if route.envelope is Envelope.EMPTY else route.status
    answer = _ANSWERS.get(route.envelope, "")
    budget = policy.budget
    return (
        f"`{route.method} {route.path}`{' *' if route.creates else ''}",
        f"`{route.operation}`",
        f"`{policy.permission}`" if policy.permission else "-",
        _role(policy),
        f"{status} {answer}".strip(),
        "" if budget is None else f"`{budget.family}`: {budget.requests} in {budget.seconds} s",
    )


def _role(policy: Policy) -> str:
    if policy.public:
        return "anybody"
    role = lowest_role(policy.permission) if policy.permission else None
    return "any" if role is None else role.value


def _parameters(endpoints: Sequence[Endpoint]) -> str:
    lines = [
        f"- `{endpoint.route.method} {endpoint.route.path}`: {', '.join(_parameter(each) for each in parameters)}\n"
        for endpoint in endpoints
        if (parameters := endpoint.query_parameters)
    ]
    return f"\nQuery parameters:\n\n{''.join(lines)}" if lines else ""


def _parameter(parameter: Any) -> str:
    kind = f"{parameter.leaf.name}{', several with commas' if parameter.is_list else ''}"
    return f"`{parameter.name}` ({kind}{', required' if parameter.required else ''})"


def roles() -> str:
    """Which role holds which permission."""
    intro = (
        "A role carries permissions, `<domain>:<action>`; permissions decide, not the level. `admin` of a domain holds every\n"
        "action of it. A role can only be granted by a role of at least the same level. A personal access token may hold\n"
        "fewer permissions than its owner's role; a key that is bound to a registry is a `sensor`'s, whatever role it\n"
        "was made with.\n\n"
        "Some domains have no operation yet; their permissions are already fixed.\n\n"
    )
    ordered = sorted(Role, key=ROLE_LEVEL.__getitem__, reverse=True)
    levels = _table(("Role", "Level"), [(role.value, str(ROLE_LEVEL[role])) for role in ordered])
    domains = []
    for domain in ROLE_MATRIX:
        permissions = sorted({each for role in Role for each in permissions_of(role) if each.startswith(f"{domain}:")})
        rows = [
            (f"`{permission}`", *("yes" if holds(role, permission) else "" for role in ordered))
            for permission in permissions
        ]
        domains += rows
    return f"# Roles and permissions\n\n{intro}{levels}\n{_table(('Permission', *(role.value for role in ordered)), domains)}"


def checks() -> str:
    """Every configuration check."""
    intro = (
        "What `dockle` is answered with where the tool itself does not answer. Ids and levels are those of the CIS Docker\n"
        "Benchmark and of [Dockle](https://github.com/goodwithtech/dockle); ids that start with `HG` are ours. A level\n"
        "becomes a severity: FATAL is HIGH, WARN is MEDIUM, INFO is LOW; a weakness of how an image was made is never\n"
        "critical.\n\n"
        "A check is decided only where the image holds what it looks at. Without a history, the checks of the history say\n"
        "nothing: they are missing from the list of checks of a run, which is not the same as passing.\n\n"
    )
    header = ("Id", "Title", "Level", "Severity", "Looks at", "Fails when", "What to do")
    rows = [
        (
            f"`{check.id}`",
            check.title,
            check.level.value,
            check.severity.value,
            ", ".join(check.needs),
            check.rule,
            check.remediation,
        )
        for check in CHECKS
    ]
    return f"# Configuration checks\n\n{intro}{_table(header, rows)}"


def secret_rules() -> str:
    """Every rule by which secrets are found."""
    intro = (
        "Searched are the files of every layer, also those a later layer deletes or replaces, and the variables, labels,\n"
        f"commands and history of the config. Of a file the first {FILE_BYTES // MIB} MiB are searched; one with a zero byte\n"
        f"in its first {PROBE_BYTES // 1024} KiB is binary and is not. Of one secret in one path there is one record, with\n"
        "the lowest layer that holds it.\n\n"
        "A secret is shown masked: four characters at each end of a long one, four in front of a shorter one, none of a\n"
        "short one. It is never stored, logged or put out as a whole, and the history and labels of an image are stored with\n"
        "the secrets in them masked, too.\n\n"
        "Not secrets are examples (`AKIAIOSFODNN7EXAMPLE`, `changeme`, `${PASSWORD}`), values with fewer different\n"
        "characters than chance would give, documentation, tests and examples that came with installed packages, and the\n"
        "self-signed key of Debian's `ssl-cert`. A rule marked * is not asked in the code of installed packages at all.\n\n"
    )
    rows = [
        (
            f"`{rule.id}`{' *' if rule.everyday else ''}",
            rule.title,
            rule.severity.value,
            ", ".join(f"`{keyword.strip()}`" for keyword in rule.keywords),
            ", ".join(f"`{path}`" for path in rule.paths) or "everywhere",
            f"{rule.entropy:g}" if rule.entropy else "",
        )
        for rule in RULES
    ]
    header = ("Rule", "Finds", "Severity", "Only in texts with", "Paths that end in", "Least entropy, bits")
    return f"# Rules for secrets\n\n{intro}{_table(header, rows)}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


# File name below docs/reference: what writes it, and from what.
PAGES: dict[str, tuple[Callable[[], str], str]] = {
    "configuration.md": (configuration, "`app/settings.py`"),
    "cli.md": (commands, "`app/cli.py`"),
    "schema.graphql": (schema_language, "the schema"),
    "routes.md": (routes, "`compat_rest/routes.py`"),
    "roles.md": (roles, "`schema/kernel/principal.py`"),
    "checks.md": (checks, "`workers/configuration/checks.py`"),
    "secret-rules.md": (secret_rules, "`workers/secrets/rules.py`"),
}


def page(name: str) -> str:
    """The whole text of a reference page."""
    write, source = PAGES[name]
    return (_NOTE.format(source=source) if name.endswith(".md") else "") + write()


def main() -> None:
    REFERENCE.mkdir(exist_ok=True)
    for name in PAGES:
        (REFERENCE / name).write_text(page(name))


if __name__ == "__main__":
    main()
