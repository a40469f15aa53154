"""Checks of the history: the steps of the build as the builder wrote them down.

Docker's old builder writes `/bin/sh -c apt-get update` for RUN and `/bin/sh -c #(nop) ADD file:… in /` for the rest;
BuildKit writes `RUN |1 A=b /bin/sh -c apt-get update # buildkit` and `ADD a b # buildkit`; others as they like. So a step
is read as words, commands told apart by what ends one in a shell. That is no shell: what it misses, nobody is accused of.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator

from workers.configuration.facts import Failure
from workers.oci.layout import HistoryEntry
from workers.secrets.names import is_secret_name, is_secret_value
from workers.secrets.search import redact

STEP_CHARACTERS = 64 * 1024  # of one step that are read
STEPS = 2000
_SHOWN = 300  # characters of a step in evidence
_COMMANDS = re.compile(r"&&|\|\||[;\n|]")
_MANAGERS = frozenset({"apt", "apt-get", "aptitude"})
_LISTS = re.compile(r"/var/lib/apt(?:/lists)?(?:/\*)?/?")
_APK_CACHE = re.compile(r"/var/cache/apk(?:/\*)?/?")
_ADD = re.compile(r"(?:/bin/sh -c #\(nop\)\s+)?ADD\s")
_UNVERIFIED = frozenset(
    {
        "--allow-unauthenticated",
        "--force-yes",
        "--allow-untrusted",
        "--nogpgcheck",
        "--no-gpg-checks",
        "--no-check-certificate",
        "--insecure",
        "--trusted-host",
        "--no-gpg-check",
        "--allow-insecure-repositories",
    }
)
# What stands first in a step of BuildKit that runs nothing; the old builder marks all of those.
_PASSIVE = re.compile(
    r"(?:ADD|ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|SHELL|STOPSIGNAL|USER|VOLUME|WORKDIR)\s"
)
_NO_RUN = "#(nop)"
_CURL_INSECURE = re.compile(r"-[A-Za-z]*k[A-Za-z]*")
_DOWNLOADERS = frozenset({"curl", "wget"})
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ash", "python", "python3", "perl", "ruby", "node"})
_ASSIGNMENT = re.compile(r"""(?<![\w.-])(-{0,2}[A-Za-z_][\w.-]{0,80})=("[^"]*"|'[^']*'|[^\s;&|"']+)""")

Commands = list[list[str]]


def check_update_alone(history: Iterable[HistoryEntry]) -> Iterator[Failure]:
    def fails(commands: Commands, _step: HistoryEntry) -> bool:
        updated = False
        for words in commands:
            updated |= _runs(words, _MANAGERS, {"update"}) or _runs(words, {"apk"}, {"update"})
            if updated and (
                _runs(words, _MANAGERS, {"install", "upgrade", "dist-upgrade", "full-upgrade"})
                or _runs(words, {"apk"}, {"add", "upgrade"})
            ):
                return False
        return updated

    return _failures(history, fails)


def check_add(history: Iterable[HistoryEntry]) -> Iterator[Failure]:
    """Of a history that cannot be mapped to layers, the first step is the one that made the lowest."""
    steps = _steps(history)
    base = next((number for number, step in enumerate(steps) if step.layer_index == 0), 0)
    added = (step for number, step in enumerate(steps) if number != base and _ADD.match(step.created_by))
    return (_failure(step) for step in added)


def check_verification(history: Iterable[HistoryEntry]) -> Iterator[Failure]:
    def fails(commands: Commands, _step: HistoryEntry) -> bool:
        return any(
            not _UNVERIFIED.isdisjoint(word.partition("=")[0] for word in words)
            or ("curl" in words and any(_CURL_INSECURE.fullmatch(word) for word in words))
            for words in commands
        )

    return _failures(history, fails)


def check_sudo(history: Iterable[HistoryEntry]) -> Iterator[Failure]:
    return _failures(history, lambda commands, _step: any("sudo" in words for words in commands))


def check_upgrade(history: Iterable[HistoryEntry]) -> Iterator[Failure]:
    def fails(commands: Commands, _step: HistoryEntry) -> bool:
        return any(_runs(words, _MANAGERS, {"dist-upgrade", "full-upgrade"}) for words in commands)

    return _failures(history, fails)


def check_apk_cache(history: Iterable[HistoryEntry]) -> Iterator[Failure]:
    def fails(commands: Commands, _step: HistoryEntry) -> bool:
        adds = [
            number
            for number, words in enumerate(commands)
            if _runs(words, {"apk"}, {"add"}) and "--no-cache" not in words
        ]
        return bool(adds) and not any(_removes(words, _APK_CACHE) for words in commands[adds[-1] :])

    return _failures(history, fails)


def check_apt_cache(history: Iterable[HistoryEntry], list_layers: frozenset[int] | None) -> Iterator[Failure]:
    def fails(commands: Commands, step: HistoryEntry) -> bool:
        if list_layers is not None and step.layer_index is not None and step.layer_index not in list_layers:
            return False
        uses = [number for number, words in enumerate(commands) if _runs(words, _MANAGERS, {"update", "install"})]
        return bool(uses) and not any(_removes(words, _LISTS) for words in commands[uses[-1] :])

    return _failures(history, fails)


def check_piped_downloads(history: Iterable[HistoryEntry]) -> Iterator[Failure]:
    for step in _steps(history):
        # Only here is it told apart what a pipe joins; "||" is none.
        pipelines = re.split(r"&&|\|\||[;\n]", step.created_by)
        if any(_is_piped_download(pipeline.split("|")) for pipeline in pipelines):
            yield _failure(step)


def check_assignments(history: Iterable[HistoryEntry]) -> Iterator[Failure]:
    """Steps that give a variable or an option which is named like a secret a value."""
    for step in _steps(history):
        named = dict.fromkeys(
            name.lstrip("-")
            for name, value in _ASSIGNMENT.findall(step.created_by)
            if is_secret_name(name) and is_secret_value(value)
        )
        for name in list(named)[:10]:
            yield Failure(f"{name} in {_show(step)}", layer=_layer(step))


def _is_piped_download(parts: list[str]) -> bool:
    commands = [part.split() for part in parts]
    return any(
        not _DOWNLOADERS.isdisjoint(source) and _program(target) in _SHELLS
        for source, target in itertools.pairwise(commands)
    )


def _program(words: list[str]) -> str:
    """What a command runs, without what may stand in front of it."""
    rest = [
        word for word in words if word not in {"sudo", "env", "exec"} and "=" not in word and not word.startswith("-")
    ]
    return rest[0].rpartition("/")[2] if rest else ""


def _steps(history: Iterable[HistoryEntry]) -> list[HistoryEntry]:
    return [step for _, step in zip(range(STEPS), history, strict=False)]


def _failures(history: Iterable[HistoryEntry], fails: Callable[[Commands, HistoryEntry], bool]) -> Iterator[Failure]:
    """Of the steps that run something."""
    for step in _steps(history):
        commands = [part.split() for part in _COMMANDS.split(step.created_by[:STEP_CHARACTERS])]
        if _NO_RUN not in step.created_by and not _PASSIVE.match(step.created_by) and fails(commands, step):
            yield _failure(step)


def _runs(words: list[str], programs: Iterable[str], actions: Iterable[str]) -> bool:
    return not set(words).isdisjoint(programs) and not set(words).isdisjoint(actions)


def _removes(words: list[str], place: re.Pattern[str]) -> bool:
    recursive = any(word.startswith("-") and {"r", "R"} & set(word) for word in words)
    return "rm" in words and recursive and any(place.fullmatch(word) for word in words)


def _failure(step: HistoryEntry) -> Failure:
    return Failure(_show(step), layer=_layer(step))


def _show(step: HistoryEntry) -> str:
    """The step on one line, secrets masked before it is cut, so that half a secret does not look like none."""
    line = " ".join(redact(step.created_by[:STEP_CHARACTERS]).split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"


def _layer(step: HistoryEntry) -> int:
    return -1 if step.layer_index is None else step.layer_index
