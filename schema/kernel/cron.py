"""When something is due that people wrote down as five fields: crontab(5) as POSIX has it, with names, steps and zones.

A field is `*`, a value, a range `1-5`, either of the latter two in a list `1,3-5`, and `*` or a range may have a step:
`*/15`, `8-18/2`. Months and days of the week have English names of three letters; Sunday is 0 and 7. When both the day of
the month and the day of the week are restricted, that is other than `*`, either may match. `@hourly`, `@daily`, `@weekly`
and `@monthly` stand for their first minute.

Where clocks are put on, a time that is skipped is due at the first minute that exists again; where they are put back, a
time that comes twice is due the first time. Neither is due more than once.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_SHORTHAND = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *"}
_MONTHS = {
    name: number
    for number, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
    )
}
_DAYS = {name: number for number, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_LEAP_YEARS_APART = 8  # 1896 and 1904, 2096 and 2104
_DIGITS = 4  # of any number, leading zeros included
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    first: int
    last: int
    names: dict[str, int]


_FIELDS = (
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 23, {}),
    _Field("day of the month", 1, 31, {}),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _DAYS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """A parsed expression: the values at which each field matches. Days of the week count from Sunday, 0."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool  # of the month
    any_weekday: bool

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Raises ValueError, with what to tell people, for what is no expression or can never be due."""
        fields = _SHORTHAND.get(text.strip().lower(), text).split()
        if len(fields) != len(_FIELDS):
            raise _wrong(
                "five fields are needed: minute, hour, day of the month, month, day of the week; "
                f"or one of {', '.join(_SHORTHAND)}"
            )
        minutes, hours, days, months, weekdays = (
            _values(given, field) for given, field in zip(fields, _FIELDS, strict=True)
        )
        cron = cls(
            minutes=tuple(sorted(minutes)),
            hours=tuple(sorted(hours)),
            days=frozenset(days),
            months=frozenset(months),
            weekdays=frozenset(day % 7 for day in weekdays),
            any_day=fields[2] == "*",
            any_weekday=fields[4] == "*",
        )
        if cron.any_weekday and not any(min(cron.days) <= _LONGEST[month - 1] for month in cron.months):
            raise _wrong("no month it names has such a day, so it would never be due")
        return cron

    def next_after(self, after: datetime, zone: ZoneInfo) -> datetime:
        """The first moment after `after` that it is due in the zone, in UTC."""
        local = after.astimezone(zone).replace(tzinfo=None, fold=0)
        # Local times, in their order, are moments in theirs; so none up to this one lies ahead.
        for candidate in self._after(local):
            moment = _moment(candidate, zone)
            if moment > after:
                return moment
        raise AssertionError  # an expression that parses is due within eight years

    def matches_day(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return by_day and by_weekday
        return by_day or by_weekday

    def _after(self, local: datetime) -> Iterator[datetime]:
        day = local.date()
        end = day.replace(year=day.year + _LEAP_YEARS_APART + 1, day=1)
        while day < end:
            if day.month not in self.months:
                day = day.replace(day=1) + timedelta(days=calendar.monthrange(day.year, day.month)[1])
                continue
            if self.matches_day(day):
                for hour in self.hours:
                    if day == local.date() and hour < local.hour:
                        continue
                    for minute in self.minutes:
                        candidate = datetime.combine(day, time(hour, minute))
                        if candidate > local:
                            yield candidate
            day += timedelta(days=1)


def find_zone(name: str) -> ZoneInfo:
    """Raises ValueError for what is no IANA name, like `Europe/Berlin`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # the last for the name of a directory
        message = "is not a time zone; name one like Europe/Berlin or UTC"
        raise ValueError(message) from None


def _moment(local: datetime, zone: ZoneInfo) -> datetime:
    """When it is that time in the zone, for the first time; or when clocks come out of the gap that it lies in."""
    while True:
        moment = local.replace(tzinfo=zone).astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=None, fold=0) == local:
            return moment
        local += _MINUTE


def _values(text: str, field: _Field) -> set[int]:
    found: set[int] = set()
    for part in text.lower().split(","):
        span, slash, step_text = part.partition("/")
        step = 1
        if slash:
            if not step_text.isascii() or not step_text.isdecimal() or not 1 <= int(step_text[:_DIGITS]) <= field.last:
                raise _wrong(f"{field.name}: the step of {part[:40]} must be 1 to {field.last}")
            step = int(step_text[:_DIGITS])
        if span == "*":
            # Seven is another name of Sunday, no eighth day for steps to fall on.
            first, last = field.first, 6 if field.names is _DAYS else field.last
        else:
            first_text, dash, last_text = span.partition("-")
            if slash and not dash:
                raise _wrong(
                    f"{field.name}: a step needs * or a range before it, like */{step} or {span[:20]}-{field.last}/{step}"
                )
            first = _value(first_text, field)
            last = _value(last_text, field) if dash else first
            if field.names is _DAYS and last == 0 < first:
                last = 7  # fri-sun
            if last < first:
                raise _wrong(f"{field.name}: {span[:40]} ends before it begins")
        found.update(range(first, last + 1, step))
    return found


def _value(text: str, field: _Field) -> int:
    value = field.names.get(text)
    if value is None and text.isascii() and text.isdecimal() and len(text) <= _DIGITS:
        value = int(text)
    if value is None or not field.first <= value <= field.last:
        named = f", or {', '.join(field.names)}" if field.names else ""
        raise _wrong(f"{field.name}: {text[:20] or 'nothing'} is not {field.first} to {field.last}{named}")
    return value


def _wrong(message: str) -> ValueError:
    return ValueError(message)
