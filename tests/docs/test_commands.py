"""Every `harborguard …` that we show somebody is one that the real parser takes: in documents, in CI files, in `--help`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from typer.main import get_command

from app.cli import cli
from tests.docs.documents import Block, all_blocks

PARSED = {"sh", "yaml", "groovy"}
_COMMAND = re.compile(r"(?:^|[\s(;|])(harborguard (?!\().*)$")
_EXAMPLE = re.compile(r"`([^`]*\bharborguard [^`]+)`")


def commands_of(text: str) -> Iterator[list[str]]:
    """The words after `harborguard`, for each line that calls it; to where the shell would end the command."""
    for line in text.replace("\\\n", " ").splitlines():
        found = _COMMAND.search(line)
        if found is None or line.lstrip().startswith("#"):
            continue
        words = shlex.shlex(found[1], posix=True, punctuation_chars=True)
        words.whitespace_split = True
        words.commenters = "#"
        command: list[str] = []
        for word in words:
            if set(word) <= set("();<>|&"):
                break
            command.append(word)
        yield command[1:]


def parse(words: list[str]) -> None:
    """Raises what the command line would answer with."""
    command: Any = get_command(cli)
    context = command.make_context("harborguard", list(words))
    while hasattr(command, "resolve_command"):
        name, command, words = command.resolve_command(context, words)
        asked = [word for option in command.params if getattr(option, "prompt", None) for word in (option.opts[0], "x")]
        context = command.make_context(name, [*words, *asked], parent=context)


def _cases() -> list[tuple[str, list[str]]]:
    blocks = (block for block in all_blocks() if block.language in PARSED)
    return [(block.place, words) for block in blocks for words in commands_of(block.text)]


@pytest.mark.parametrize(("place", "words"), _cases(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_shown_command_parses(place: str, words: list[str]) -> None:
    parse(words)


def test_commands_are_found_wherever_they_stand() -> None:
    text = (
        '- scan=$(harborguard scan shop.tar --name "acme/shop:$TAG")\n'
        "  - harborguard scan a.tar \\\n    --wait || exit 1   # why\n"
        "harborguard advisories status > file\n"
        "# harborguard nonsense\n"
    )
    assert list(commands_of(text)) == [
        ["scan", "shop.tar", "--name", "acme/shop:$TAG"],
        ["scan", "a.tar", "--wait"],
        ["advisories", "status"],
    ]
    with pytest.raises(Exception, match="No such option"):
        parse(["scan", "a.tar", "--no-such-option"])


@pytest.mark.parametrize("block", [block for block in all_blocks() if block.language == "yaml"], ids=lambda b: b.place)
def test_ci_files_are_yaml(block: Block) -> None:
    assert isinstance(yaml.safe_load(block.text), dict)


def _commands(command: Any, name: str = "harborguard") -> Iterator[tuple[str, Any]]:
    yield name, command
    for each, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, f"{name} {each}")


@pytest.mark.parametrize(("name", "command"), list(_commands(get_command(cli))), ids=lambda value: str(value)[:40])
def test_help_has_an_example_that_parses(name: str, command: Any) -> None:
    examples = [words for example in _EXAMPLE.findall(command.epilog) for words in commands_of(example)]
    assert examples
    assert all(["harborguard", *words][: len(name.split())] == name.split() for words in examples)
    for words in examples:
        parse(words)
