"""All SQL of the advisory store. Nothing here belongs to a tenant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, and_, case, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlmodel import col

from schema.advisories.catalog import ABOUT_CVES, SAMPLE
from schema.advisories.models import Advisory, AdvisoryEcosystem, AdvisoryFeed, AdvisoryImport, AdvisoryPackage
from schema.advisories.osv import is_cve
from schema.advisories.records import AdvisoryRecord, AffectedPackage, VersionRange
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.upsert import insert_missing
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.severity import worst_severity

NAMES_PER_QUERY = 2_000  # below the 32,766 parameters SQLite and PostgreSQL take in a statement
RECORDS_PER_BATCH = 500
ROWS_PER_PAGE = 1_000
_PARSER = 1  # part of every content hash: raised when the same document is read differently, so that it's stored again


# --- Filling a feed: one process at a time, in small transactions, each of which first makes sure it still may.


class FeedLostError(Exception):
    """Another process fills the feed now: nothing more may be stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """A feed in the hands of the process that fills it, and what the store had when it took it."""

    feed: str
    owner: str
    generation: int
    records: int
    validators: Mapping[str, Any]

    @property
    def next_generation(self) -> int:
        return self.generation + 1


async def take_feed(session: AsyncSession, feed: str, *, owner: str, now: datetime, seconds: float) -> Filling | None:
    """Takes the feed for so many seconds; None while another process has it."""
    await insert_missing(
        session,
        AdvisoryFeed,
        {"name": feed, "generation": 0, "records": 0, "rejected": 0, "validators": {}},
        unique=["name"],
    )
    statement = (
        update(AdvisoryFeed)
        .where(
            col(AdvisoryFeed.name) == feed,
            or_(col(AdvisoryFeed.lease_owner).is_(None), col(AdvisoryFeed.lease_expires_at) < now),
        )
        .values(lease_owner=owner, lease_expires_at=now + timedelta(seconds=seconds))
        .returning(col(AdvisoryFeed.generation), col(AdvisoryFeed.records), col(AdvisoryFeed.validators))
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        return None
    return Filling(
        feed=feed, owner=owner, generation=row.generation, records=row.records, validators=row.validators or {}
    )


def _held(filling: Filling) -> ColumnElement[bool]:
    return and_(
        col(AdvisoryFeed.name) == filling.feed,
        col(AdvisoryFeed.lease_owner) == filling.owner,
        col(AdvisoryFeed.generation) == filling.generation,
    )


async def hold_feed(session: AsyncSession, filling: Filling, *, now: datetime, seconds: float) -> None:
    """First in every transaction that stores. Raises FeedLostError; until the commit nobody else can take the feed."""
    statement = (
        update(AdvisoryFeed)
        .where(_held(filling))
        .values(lease_expires_at=now + timedelta(seconds=seconds))
        .returning(col(AdvisoryFeed.name))
    )
    if (await session.execute(statement)).one_or_none() is None:
        raise FeedLostError(filling.feed)


async def release_feed(session: AsyncSession, filling: Filling) -> None:
    """Whatever became of it: only the owner's lease is ended."""
    mine = (col(AdvisoryFeed.name) == filling.feed, col(AdvisoryFeed.lease_owner) == filling.owner)
    await session.execute(update(AdvisoryFeed).where(*mine).values(lease_owner=None, lease_expires_at=None))


async def start_import(session: AsyncSession, filling: Filling, source: str, *, now: datetime) -> str:
    import_id = new_id(IdPrefix.ADVISORY_IMPORT)
    values = {"id": import_id, "feed": filling.feed, "source": source[:300], "started_at": now}
    await session.execute(insert(AdvisoryImport).values(**values, records=0, rejected=0))
    return import_id


async def stage_batch(
    session: AsyncSession, filling: Filling, import_id: str, records: Sequence[AdvisoryRecord], seen: set[int]
) -> int:
    """Stores what the next generation has and the store has not, and returns how many records that were.

    `seen` are the numbers of the rows that belong to the next generation as far as it was read; it is brought up to date.
    Of several records of one id the last counts. A record whose content is stored already is left alone, be it of the
    present generation or of an attempt that was cut off.
    """
    latest = {record.id: record for record in records}
    hashes = {record.id: content_hash(record) for record in latest.values()}
    statement = select(col(Advisory.number), col(Advisory.id), col(Advisory.content_hash), col(Advisory.since)).where(
        col(Advisory.feed) == filling.feed, col(Advisory.id).in_(latest), col(Advisory.until).is_(None)
    )
    kept, outdated = set(), []
    for row in (await session.execute(statement)).all():
        if hashes[row.id] == row.content_hash:
            kept.add(row.id)
            seen.add(row.number)
        else:
            outdated.append(row)
            seen.discard(row.number)
    await _drop(session, filling, outdated)
    fresh = [record for record in latest.values() if record.id not in kept]
    if not fresh:
        return 0
    rows = [_advisory_row(record, filling, import_id, hashes[record.id]) for record in fresh]
    inserted = await session.execute(insert(Advisory).returning(col(Advisory.id), col(Advisory.number)), rows)
    numbers = {row.id: row.number for row in inserted}
    seen.update(numbers.values())
    packages = [
        _package_row(numbers[record.id], position, affected)
        for record in fresh
        for position, affected in enumerate(record.affected)
    ]
    for start in range(0, len(packages), ROWS_PER_PAGE):
        await session.execute(insert(AdvisoryPackage), packages[start : start + ROWS_PER_PAGE])
    return len(fresh)


async def _drop(session: AsyncSession, filling: Filling, rows: Iterable[Any]) -> None:
    """Takes rows out of the next generation: those readers see are closed, those of a cut-off attempt go."""
    staged = {row.number for row in rows if row.since > filling.generation}
    live = {row.number for row in rows} - staged
    if staged:
        await session.execute(delete(Advisory).where(col(Advisory.number).in_(staged)))
    if live:
        closed = update(Advisory).where(col(Advisory.number).in_(live)).values(until=filling.next_generation)
        await session.execute(closed)


async def open_rows(session: AsyncSession, filling: Filling, *, after: int) -> Sequence[Any]:
    """A page of the rows the next generation has, by number: (number, since)."""
    statement = (
        select(col(Advisory.number), col(Advisory.since))
        .where(col(Advisory.feed) == filling.feed, col(Advisory.until).is_(None), col(Advisory.number) > after)
        .order_by(col(Advisory.number))
        .limit(ROWS_PER_PAGE)
    )
    return (await session.execute(statement)).all()


async def drop_unseen(session: AsyncSession, filling: Filling, rows: Sequence[Any], seen: Collection[int]) -> int:
    """Of a page of open rows: takes those out of the next generation that a complete feed no longer has."""
    gone = [row for row in rows if row.number not in seen]
    await _drop(session, filling, gone)
    return len(gone)


@dataclass(frozen=True, slots=True)
class Counted:
    ecosystem: str
    advisories: int
    database_date: datetime


async def count_page(session: AsyncSession, rows: Sequence[Any]) -> Sequence[Counted]:
    """What a page of rows holds by ecosystem, without withdrawn records."""
    statement = (
        select(
            col(AdvisoryPackage.ecosystem),
            func.count(col(AdvisoryPackage.advisory).distinct()),
            func.max(col(Advisory.modified_at)),
        )
        .join(Advisory, col(Advisory.number) == col(AdvisoryPackage.advisory))
        .where(col(Advisory.number).in_([row.number for row in rows]), col(Advisory.withdrawn_at).is_(None))
        .group_by(col(AdvisoryPackage.ecosystem))
    )
    return [Counted(*row) for row in (await session.execute(statement)).all()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What the next generation of a feed amounts to, and what was read to get there."""

    read: int
    rejected: int
    newest_read: datetime | None
    stored: int
    database_date: datetime | None
    ecosystems: Sequence[Counted]
    validators: Mapping[str, Any]


async def switch_feed(
    session: AsyncSession, filling: Filling, import_id: str, filled: Filled, *, now: datetime
) -> None:
    """Readers see the next generation from this transaction's commit on. Raises FeedLostError."""
    switched = (
        update(AdvisoryFeed)
        .where(_held(filling))
        .values(
            records=filled.stored,
            rejected=filled.rejected,
            database_date=filled.database_date,
            generation=filling.next_generation,
            validators=dict(filled.validators),
            checked_at=now,
            changed_at=now,
            error=None,
        )
        .returning(col(AdvisoryFeed.name))
    )
    if (await session.execute(switched)).one_or_none() is None:
        raise FeedLostError(filling.feed)
    await session.execute(delete(AdvisoryEcosystem).where(col(AdvisoryEcosystem.feed) == filling.feed))
    rows = [{"feed": filling.feed, **asdict(counted), "updated_at": now} for counted in filled.ecosystems]
    if rows:
        await session.execute(insert(AdvisoryEcosystem), rows)
    ended = update(AdvisoryImport).where(col(AdvisoryImport.id) == import_id)
    values = {"records": filled.read, "rejected": filled.rejected, "database_date": filled.newest_read}
    await session.execute(ended.values(**values, finished_at=now))


async def end_import(session: AsyncSession, import_id: str, *, rejected: int, error: str, now: datetime) -> None:
    """Of an import that was refused: it stored nothing."""
    values = {"rejected": rejected, "error": error[:500], "finished_at": now}
    await session.execute(update(AdvisoryImport).where(col(AdvisoryImport.id) == import_id).values(**values))


async def note_check(session: AsyncSession, filling: Filling, *, now: datetime) -> None:
    """The feed is as it was."""
    await session.execute(update(AdvisoryFeed).where(_held(filling)).values(checked_at=now, error=None))


async def note_failure(session: AsyncSession, feed: str, error: str, *, now: datetime) -> None:
    failed = update(AdvisoryFeed).where(col(AdvisoryFeed.name) == feed)
    await session.execute(failed.values(failed_at=now, error=error[:500]))


async def collect_page(session: AsyncSession, feed: str, generation: int) -> int:
    """Deletes some of the rows nobody sees any more, and returns how many."""
    return await _delete_page(
        session, col(Advisory.feed) == feed, col(Advisory.until).is_not(None), col(Advisory.until) <= generation
    )


async def unstage_page(session: AsyncSession, filling: Filling) -> int:
    """Takes back some of what an attempt has staged, and returns how many rows that were."""
    reopened = select(col(Advisory.number)).where(
        col(Advisory.feed) == filling.feed, col(Advisory.until) > filling.generation
    )
    numbers = (await session.execute(reopened.limit(ROWS_PER_PAGE))).scalars().all()
    if numbers:
        await session.execute(update(Advisory).where(col(Advisory.number).in_(numbers)).values(until=None))
        return len(numbers)
    return await _delete_page(session, col(Advisory.feed) == filling.feed, col(Advisory.since) > filling.generation)


async def _delete_page(session: AsyncSession, *which: ColumnElement[bool]) -> int:
    statement = select(col(Advisory.number)).where(*which).limit(ROWS_PER_PAGE)
    numbers = (await session.execute(statement)).scalars().all()
    if numbers:
        await session.execute(delete(Advisory).where(col(Advisory.number).in_(numbers)))
    return len(numbers)


def content_hash(record: AdvisoryRecord) -> str:
    """Of all a record says but `modified`: some feeds touch every record every day, some bear today's date."""
    content = (
        _PARSER,
        record.id,
        record.aliases,
        record.summary,
        record.details,
        record.published,
        record.withdrawn,
        record.severity,
        record.cvss_score,
        record.cvss_vectors,
        record.references,
        record.affected,
    )
    return blake2b(orjson.dumps(content), digest_size=16).hexdigest()


def _advisory_row(record: AdvisoryRecord, filling: Filling, import_id: str, digest: str) -> dict[str, Any]:
    return {
        "feed": filling.feed,
        "id": record.id,
        "since": filling.next_generation,
        "until": None,
        "content_hash": digest,
        "cve": _sole_cve(record),
        "aliases": list(record.aliases),
        "summary": record.summary[:500],
        "details": record.details,
        "severity": record.severity,
        "cvss_score": record.cvss_score,
        "cvss_vectors": list(record.cvss_vectors),
        "references": list(record.references),
        "published_at": record.published,
        "modified_at": record.modified,
        "withdrawn_at": record.withdrawn,
        "import_id": import_id,
    }


def _sole_cve(record: AdvisoryRecord) -> str | None:
    """The flaw of a record that is about one flaw alone."""
    cves = set(filter(is_cve, (record.id, *record.aliases)))
    return cves.pop() if len(cves) == 1 else None


def _package_row(advisory: int, position: int, affected: AffectedPackage) -> dict[str, Any]:
    return {
        "advisory": advisory,
        "position": position,
        "ecosystem": affected.ecosystem,
        "name": affected.name,
        "ranges": [asdict(entry) for entry in affected.ranges],
        "versions": list(affected.versions),
        "severity": affected.severity,
        "cvss_vectors": list(affected.cvss_vectors),
    }


# --- What there is


@dataclass(frozen=True, slots=True, kw_only=True)
class EcosystemHolding:
    """What the store holds of one ecosystem, over all feeds. A record that two feeds have counts twice."""

    ecosystem: str
    advisories: int
    database_date: datetime
    sample: bool  # nothing but the demonstration's sample: too little to trust a good grade
    updated_at: datetime


async def generations(session: AsyncSession) -> Sequence[tuple[str, int]]:
    """(feed, generation) of what readers see: another list whenever a feed has been switched."""
    # Of advisories: what is known of CVEs changes no judgement of a package.
    statement = select(col(AdvisoryFeed.name), col(AdvisoryFeed.generation)).where(
        col(AdvisoryFeed.name).not_in(ABOUT_CVES)
    )
    rows = (await session.execute(statement)).all()
    return [(row.name, row.generation) for row in rows]


async def ecosystems(session: AsyncSession) -> Sequence[EcosystemHolding]:
    """What the store holds, by ecosystem."""
    others = func.sum(case((col(AdvisoryEcosystem.feed) == SAMPLE, 0), else_=1))
    statement = (
        select(
            col(AdvisoryEcosystem.ecosystem),
            func.sum(col(AdvisoryEcosystem.advisories)).label("advisories"),
            func.max(col(AdvisoryEcosystem.database_date)).label("database_date"),
            (others == 0).label("sample"),
            func.max(col(AdvisoryEcosystem.updated_at)).label("updated_at"),
        )
        .group_by(col(AdvisoryEcosystem.ecosystem))
        .order_by(col(AdvisoryEcosystem.ecosystem))
    )
    return [EcosystemHolding(**row._asdict()) for row in (await session.execute(statement)).all()]


async def feeds(session: AsyncSession) -> Sequence[AdvisoryFeed]:
    """Every feed the store knows, by name."""
    return (await session.execute(select(AdvisoryFeed).order_by(col(AdvisoryFeed.name)))).scalars().all()


async def imports(session: AsyncSession, *, limit: int = 20) -> Sequence[AdvisoryImport]:
    """The latest imports, newest first."""
    statement = select(AdvisoryImport).order_by(col(AdvisoryImport.id).desc()).limit(limit)
    return (await session.execute(statement)).scalars().all()


# --- What a match reads


Candidates = Mapping[tuple[str, str], Sequence[tuple[AdvisoryRecord, AffectedPackage]]]


async def candidates(session: AsyncSession, keys: Iterable[tuple[str, str]]) -> Candidates:
    """Every advisory about the given (ecosystem, name) pairs, whatever its versions.

    What no match asks for is left out: details, references, the day of publication. Withdrawn records are among them,
    because one may speak for its copy in another feed. A record that rates nothing is lent the vectors other records give
    to the same CVE. Read it in `Database.snapshot()`, so that no feed is switched in between.
    """
    names: dict[str, set[str]] = defaultdict(set)
    for ecosystem, name in keys:
        names[ecosystem].add(name)
    # Of the connection, not the session: tens of thousands of rows need nothing of the ORM.
    connection = await session.connection()
    rows: list[Any] = []
    for ecosystem, wanted in names.items():
        ordered = sorted(wanted)
        for start in range(0, len(ordered), NAMES_PER_QUERY):
            statement = _candidates_of(ecosystem, ordered[start : start + NAMES_PER_QUERY])
            rows += (await connection.execute(statement)).all()
    # Unpacked by position: the columns of `_candidates_of`, in its order.
    unrated = {
        cve
        for _, _, _, _, own_severity, own_vectors, _, _, cve, _, _, severity, _, vectors, _, _ in rows
        if cve and _rates_nothing(severity, own_severity) and not (vectors or own_vectors)
    }
    lent = await _vectors_by_cve(connection, unrated)
    found: dict[tuple[str, str], list[tuple[AdvisoryRecord, AffectedPackage]]] = defaultdict(list)
    for row in rows:
        (ecosystem, name, ranges, versions, own_severity, own_vectors, *_) = row
        affected = AffectedPackage(
            ecosystem=ecosystem,
            name=name,
            ranges=tuple([_range(**entry) for entry in ranges]),
            versions=tuple(versions),
            severity=own_severity,
            cvss_vectors=tuple(own_vectors),
        )
        found[ecosystem, name].append((_record(row, affected, lent), affected))
    return found


def _rates_nothing(severity: Severity, own_severity: Severity | None) -> bool:
    return severity is Severity.UNKNOWN and own_severity in (None, Severity.UNKNOWN)


def _range(type: str, events: list[list[str]]) -> VersionRange:  # noqa: A002 -- as it is stored
    return VersionRange(type=type, events=tuple([(kind, version) for kind, version in events]))


async def _vectors_by_cve(connection: AsyncConnection, cves: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The CVSS vectors of all records about one CVE alone."""
    found: dict[str, set[str]] = defaultdict(set)
    ordered = sorted(cves)
    for start in range(0, len(ordered), NAMES_PER_QUERY):
        statement = (
            select(col(Advisory.cve), col(Advisory.cvss_vectors))
            .join(AdvisoryFeed, is_visible())
            .where(
                col(Advisory.cve).in_(ordered[start : start + NAMES_PER_QUERY]),
                col(Advisory.severity) != Severity.UNKNOWN,  # whoever has a vector has a rating
                col(Advisory.withdrawn_at).is_(None),
            )
        )
        for cve, vectors in (await connection.execute(statement)).all():
            found[cve or ""].update(vectors)
    return {cve: tuple(sorted(vectors)) for cve, vectors in found.items() if vectors}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """What the store says of a flaw as such. `cve` is its name where the record names exactly one."""

    cve: str | None
    severity: Severity
    cvss_vectors: tuple[str, ...]


async def ratings(session: AsyncSession, names: Collection[str]) -> dict[str, Rating]:
    """By name, of those flaws that some record of that id, or about that CVE alone, rates."""
    found: dict[str, list[Any]] = defaultdict(list)
    connection = await session.connection()
    ordered = sorted(names)
    for start in range(0, len(ordered), NAMES_PER_QUERY):
        asked = ordered[start : start + NAMES_PER_QUERY]
        for column in (col(Advisory.id), col(Advisory.cve)):
            statement: Any = (
                select(column.label("name"), col(Advisory.cve), col(Advisory.severity), col(Advisory.cvss_vectors))
                .join(AdvisoryFeed, is_visible())
                .where(column.in_(asked), col(Advisory.withdrawn_at).is_(None))
            )
            for row in (await connection.execute(statement)).all():
                found[row.name].append(row)
    return {
        name: Rating(
            cve=next((row.cve for row in rows if row.cve), None),
            severity=worst_severity(Severity(row.severity) for row in rows),
            cvss_vectors=tuple(sorted({vector for row in rows for vector in row.cvss_vectors})),
        )
        for name, rows in found.items()
    }


def is_visible() -> ColumnElement[bool]:
    """Of an advisory joined with its feed: whether it is part of the generation that readers see."""
    return and_(
        col(AdvisoryFeed.name) == col(Advisory.feed),
        col(Advisory.since) <= col(AdvisoryFeed.generation),
        or_(col(Advisory.until).is_(None), col(Advisory.until) > col(AdvisoryFeed.generation)),
    )


def _candidates_of(ecosystem: str, names: Collection[str]) -> Select[Any]:
    return (
        select(
            col(AdvisoryPackage.ecosystem),
            col(AdvisoryPackage.name),
            col(AdvisoryPackage.ranges),
            col(AdvisoryPackage.versions),
            col(AdvisoryPackage.severity).label("own_severity"),
            col(AdvisoryPackage.cvss_vectors).label("own_vectors"),
            col(Advisory.feed),
            col(Advisory.id),
            col(Advisory.cve),
            col(Advisory.aliases),
            col(Advisory.summary),
            col(Advisory.severity),
            col(Advisory.cvss_score),
            col(Advisory.cvss_vectors),
            col(Advisory.modified_at),
            col(Advisory.withdrawn_at),
        )
        .join(Advisory, col(Advisory.number) == col(AdvisoryPackage.advisory))
        .join(AdvisoryFeed, is_visible())
        .where(col(AdvisoryPackage.ecosystem) == ecosystem, col(AdvisoryPackage.name).in_(names))
        .order_by(col(Advisory.id), col(Advisory.feed), col(AdvisoryPackage.position))
    )


def _record(row: Any, affected: AffectedPackage, lent: Mapping[str, tuple[str, ...]]) -> AdvisoryRecord:
    _, _, _, _, _, _, feed, identity, cve, aliases, summary, severity, score, vectors, modified, withdrawn = row
    borrows = not (vectors or affected.cvss_vectors) and _rates_nothing(severity, affected.severity)
    return AdvisoryRecord(
        id=identity,
        aliases=tuple(aliases),
        summary=summary,
        details="",
        published=None,
        modified=modified,
        withdrawn=withdrawn,
        severity=severity,
        cvss_score=score,
        cvss_vectors=lent.get(cve, ()) if borrows else tuple(vectors),
        references=(),
        affected=(affected,),
        feed=feed,
    )
