"""What an engine's module tells of its tool: how it is called, and how its answer is read. Running it is the runner's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from schema.scans.models import Engine
from workers.engines.documents import Object
from workers.engines.report import EngineReport, ImageFacts


class ImageForm(StrEnum):
    """In what form a tool reads the image: the fetched OCI layout itself, or an archive made of it."""

    LAYOUT = "LAYOUT"
    ARCHIVE = "ARCHIVE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One run of a tool. `directory` is empty, the run's own, its HOME and the only place it may write to."""

    image: Path  # absolute, in the adapter's form
    directory: Path
    databases: Path  # where the operator keeps the tools' databases, each in a directory of the tool's name
    vulnerabilities: bool  # whether the tool has a database to judge by
    seconds: int  # when it will be stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A tool behind an engine. Arguments never hold anything a tenant wrote: only paths of ours."""

    engine: Engine
    tool: str  # the program's name
    form: ImageForm
    arguments: Callable[[Call], Sequence[str]]
    read: Callable[[Object, ImageFacts], EngineReport]
    environment: Callable[[Call], Mapping[str, str]] = lambda _: {}
    prepare: Callable[[Call], None] = lambda _: None  # what has to lie in the directory before the run
    notes: Callable[[Call], Sequence[str]] = lambda _: ()  # what this run cannot see, for the scan's log
    output: str | None = None  # name of the file it writes its answer to; None: it prints it
    exits: frozenset[int] = field(default_factory=lambda: frozenset({0}))  # codes that come with an answer
    version: Sequence[str] = ("--version",)  # arguments that make it tell its version
    database_date: Callable[[Path], datetime | None] | None = None  # None: it needs no database
    needs_database: bool = False  # without its database it has nothing to say
    withheld: Sequence[Sequence[str]] = ()  # members of its answer not kept: environments, files, paths of this machine
