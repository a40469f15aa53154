"""What the documents show works: commands run, queries fit the schema, data parses, links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from graphql import GraphQLSchema

from app.settings import Settings
from schema.build import build_schema
from schema.execution.documents import prepare
from schema.kernel.errors import ErrorCode
from schema.kernel.principal import Role
from tests.docs.conftest import RunningServer, running_server
from tests.docs.documents import ROOT, Block, all_blocks, blocks, documents

LANGUAGES = {"sh", "python", "graphql", "json", "toml", "yaml", "groovy", "text"}
SESSION_SECONDS = 120.0
RUNNABLE = [document for document in documents() if any(block.runs for block in blocks(document))]
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)


def _name(value: Path | Block) -> str:
    return value.place if isinstance(value, Block) else str(value.relative_to(ROOT))


def _of(*languages: str) -> list[Block]:
    return [block for block in all_blocks() if block.language in languages]


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return build_schema().graphql


def test_every_block_says_what_it_is() -> None:
    unknown = [block.place for block in all_blocks() if block.language not in LANGUAGES]
    assert unknown == []


def test_what_is_not_run_says_why_and_is_the_exception() -> None:
    shell = _of("sh", "python")
    left_out = [block for block in shell if not block.runs]
    assert [block.place for block in left_out if not block.text.startswith("# ")] == []
    assert len(left_out) < len(shell) / 3


@pytest.mark.parametrize("block", _of("graphql"), ids=_name)
def test_graphql_fits_the_schema(schema: GraphQLSchema, block: Block) -> None:
    prepared = prepare(schema, block.text)
    assert prepared.operations or prepared.errors
    assert [error.message for error in prepared.errors] == []


@pytest.mark.parametrize("block", _of("json"), ids=_name)
def test_json_parses(block: Block) -> None:
    assert json.loads(block.text) is not None


@pytest.mark.parametrize("block", _of("toml"), ids=_name)
def test_settings_files_are_settings(block: Block) -> None:
    assert set(tomllib.loads(block.text)) <= set(Settings.model_fields)


@pytest.mark.parametrize("document", RUNNABLE, ids=_name)
def test_commands_run(document: Path, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    archive: Path = request.getfixturevalue("demo_archive")
    if "SETUP_TOKEN" in document.read_text():
        with running_server(tmp_path) as server:
            _run(document, server, {"SETUP_TOKEN": server.setup_token}, tmp_path, archive)
        return
    server = request.getfixturevalue("shared_server")
    keys = {"HARBORGUARD_API_KEY": server.new_key(Role.CI), "HARBORGUARD_ADMIN_KEY": server.new_key(Role.ADMIN)}
    _run(document, server, keys, tmp_path, archive)


def _run(document: Path, server: RunningServer, variables: dict[str, str], directory: Path, archive: Path) -> None:
    """All blocks of a document as one session, in a directory that looks like a checkout after `make demo`."""
    checkout = directory / "checkout"
    for path, target in (("app", ROOT / "app"), ("var/demo/image/harbor-shop.tar", archive)):
        link = checkout / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    activate = checkout / ".venv/bin/activate"
    activate.parent.mkdir(parents=True)
    activate.write_text(f"export PATH={Path(sys.executable).parent}:$PATH\n")
    (directory / "strict").mkdir()
    (directory / "strict/.curlrc").write_text("fail-with-body\nsilent\nshow-error\nnoproxy = *\n")
    (directory / "lenient").mkdir()
    (directory / "lenient/.curlrc").write_text("noproxy = *\n")
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(directory),
        "CURL_HOME": str(directory / "strict"),
        "HARBORGUARD_URL": server.url,
        "HARBORGUARD_DATA_DIR": str(server.settings.data_dir),
        **variables,
    }
    steps = [block for block in blocks(document) if block.runs]
    script = "set -euo pipefail\n" + "".join(_step(block, number, directory) for number, block in enumerate(steps))
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=checkout,
        env=environment,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SESSION_SECONDS,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    for number, block in enumerate(steps):
        if block.expected_error is not None:
            assert ErrorCode(block.expected_error)
            assert f'"code":"{block.expected_error}"' in (directory / f"output-{number}").read_text(), block.place


def _step(block: Block, number: int, directory: Path) -> str:
    body = block.text if block.language == "sh" else f"python3 - <<'END OF BLOCK'\n{block.text}END OF BLOCK\n"
    marker = f"printf '\\n=== %s\\n' {block.place}\n"
    if block.expected_error is None:
        return marker + body
    output = directory / f"output-{number}"
    lenient = f"set +e; CURL_HOME={directory / 'lenient'}\n{{\n{body}}} > {output} 2>&1\n"
    return f"{marker}{lenient}cat {output}\nCURL_HOME={directory / 'strict'}; set -e\n"


@pytest.mark.parametrize("document", documents(), ids=_name)
def test_links_lead_somewhere(document: Path) -> None:
    broken = [target for target in _targets(document) if not _exists(document, target)]
    assert broken == []


def _targets(document: Path) -> list[str]:
    found = [match["target"] for match in _LINK.finditer(document.read_text())]
    return [target for target in found if "://" not in target]


def _exists(document: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = (document.parent / path).resolve() if path else document
    if not file.exists() or not file.is_relative_to(ROOT):
        return False
    return not anchor or anchor in {_anchor(match["title"]) for match in _HEADING.finditer(file.read_text())}


def _anchor(title: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
