"""The language in which people ask for jobs, the same on the command line and over HTTP.

    state:failed queue:email job:SendInvoice args.user_id:42 since:2h "text of the error"

A query is words with spaces between them, and a job has to match each. A word is `key:value`, or
text that the job's error has in it. Quotes keep spaces, and colons, together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from jobqueue.config import QUEUE_NAME_RULE, is_queue_name
from jobqueue.errors import InvalidQuery, UnknownJob
from jobqueue.records import LARGEST_ID, Between, JobFilter, JobState, JsonValue
from jobqueue.spelling import did_you_mean

LONGEST_QUERY = 2000
MOST_ATTEMPTS = 2**31 - 1
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
KEYS = {
    "id": "id:42,43",
    "state": "state:failed,cancelled",
    "queue": "queue:email",
    "job": "job:SendInvoice",
    "worker": "worker:web-1:4711:8f3a61c2",
    "flow": "flow:12",
    "attempts": "attempts:3 (at least)",
    "due": "due:yes",
    "created": "created:2h or created:2026-01-31..2026-02-02",
    "started": "started:2h",
    "finished": "finished:..2026-01-31T08:00Z",
    "since": "since:2h",
    "until": "until:2026-01-31T08:00Z",
    "args.…": "args.user_id:42",
    "meta.…": "meta.tenant:42",
    "error": 'error:"no route", or "no route"',
    "error_key": "error_key:5f0c7b1a9e33",
}
"""Each key, with an example."""
NAMES_OF_FIELDS = {"handlers": "jobs"}
JSON_KEYS = ("args", "meta")
_WORD = re.compile(r'(?:[^\s"]|"(?:[^"\\]|\\.)*")+')
_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_NAME = re.compile(r"[^\s.:\"]+")


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a query, with its key; that of a text for the error is empty.

    Args:
        query: the whole query.
        start: where the word begins in it.
        text: the word as it was written.
        key: before its first colon.
        value: after it, without quotes.
    """

    query: str
    start: int
    text: str
    key: str
    value: str

    def refused(self, why: str) -> InvalidQuery:
        """Return the error that points at this word."""
        return InvalidQuery(why, self.query, self.start, len(self.text))


def job_filter_of(query: str, now: datetime, names_of: Callable[[str], Sequence[str]]) -> JobFilter:
    """Return the filter that a query asks for.

    Args:
        query: what somebody has written.
        now: the time from which ages count.
        names_of: the names that rows may carry of a job that a name means.

    Raises:
        InvalidQuery: it cannot be understood; nothing is guessed.
    """
    reader, words = QueryReader(now, names_of), list(words_of(query))
    if not words:
        # Whoever asks for something wants it, and not all jobs that there are.
        raise InvalidQuery("the query is empty; write state:failed, for example", query, 0, 1)
    for word in words:
        reader.take(word)
    return reader.where


def narrowed(
    where: JobFilter,
    query: str,
    now: datetime,
    names_of: Callable[[str], Sequence[str]],
    beside: str = "an option",
) -> JobFilter:
    """Return a filter that options give, with what a query asks for beside them.

    Args:
        where: what the options give.
        query: what somebody has written.
        now: the time from which ages count.
        names_of: the names that rows may carry of a job that a name means.
        beside: what each of the options is called, for messages.

    Raises:
        InvalidQuery: it cannot be understood, or both say which states, queues or jobs.
    """
    found = job_filter_of(query, now, names_of)
    nothing = JobFilter()
    given = {
        field.name: getattr(found, field.name)
        for field in fields(JobFilter)
        if getattr(found, field.name) != getattr(nothing, field.name)
    }
    for name in given:
        if getattr(where, name) != getattr(nothing, name):
            what = NAMES_OF_FIELDS.get(name, name)
            why = f"the query and {beside} both say which {what}; leave one of them out"
            raise InvalidQuery(why, query, 0, len(query))
    return replace(where, **given)


def words_of(query: str) -> Iterator[Word]:
    """Yield the words of a query.

    Raises:
        InvalidQuery: it is too long, or a quote is not closed.
    """
    if len(query) > LONGEST_QUERY:
        why = f"a query has {LONGEST_QUERY:,} characters at most, and this one {len(query):,}"
        raise InvalidQuery(why, query[:60] + "…", 0, 1)
    odd = next((n for n, c in enumerate(query) if not (c.isprintable() or c.isspace())), None)
    if odd is not None:
        why = f"the character {query[odd]!r} is in no job; leave it out"
        raise InvalidQuery(why, query, odd, 1)
    place = 0
    while place < len(query):
        if query[place].isspace():
            place += 1
            continue
        found = _WORD.match(query, place)
        if found is None or query[found.end() : found.end() + 1] == '"':
            start = query.index('"', place)
            raise InvalidQuery(
                "this quote is not closed; write another at the end", query, start, 1
            )
        yield _word(query, place, found[0])
        place = found.end()


def _word(query: str, start: int, text: str) -> Word:
    key, colon, value = ("", "", text) if text.startswith('"') else text.partition(":")
    if not colon:
        key, value = "", text
    return Word(query, start, text, key, _unquoted(value))


def _unquoted(text: str) -> str:
    pieces = re.split(r'"((?:[^"\\]|\\.)*)"', text)
    return "".join(
        re.sub(r"\\(.)", r"\1", piece) if number % 2 else piece
        for number, piece in enumerate(pieces)
    )


class QueryReader:
    """A reader of the words of a query, one after the other, into a filter.

    Args:
        now: the time from which ages count.
        names_of: the names that rows may carry of a job that a name means.
    """

    def __init__(self, now: datetime, names_of: Callable[[str], Sequence[str]]) -> None:
        self.where = JobFilter()
        self._now = now
        self._names_of = names_of
        self._seen: set[str] = set()
        self._readers: Mapping[str, Callable[[Word], dict[str, Any]]] = {
            "error": self._read_error,
            "id": self._read_id,
            "state": self._read_state,
            "queue": self._read_queue,
            "job": self._read_job,
            "worker": self._read_worker,
            "error_key": self._read_error_key,
            "flow": self._read_flow,
            "attempts": self._read_attempts,
            "due": self._read_due,
            "created": self._read_created,
            "started": self._read_started,
            "finished": self._read_finished,
            "since": self._read_since,
            "until": self._read_until,
        }

    def take(self, word: Word) -> None:
        """Take a word into the filter.

        Raises:
            InvalidQuery: it cannot be understood, or says what another word has said.
        """
        kind = word.key.partition(".")[0]
        if kind in JSON_KEYS and "." in word.key:
            self._take_json(kind, word)
            return
        key = word.key or "error"
        read = self._readers.get(key)
        if read is None:
            raise word.refused(_why_unknown(word))
        if key in self._seen:
            raise word.refused(f"{_name(word)} comes twice; {_how_to_join(word)}")
        self._seen.add(key)
        if not word.value.strip():  # blanks are in every error of more than a word
            raise word.refused(f"{key}: has no value; write {KEYS[key]}, for example")
        self.where = replace(self.where, **read(word))

    # --- one key each ----------------------------------------------------------------------------

    def _read_error(self, word: Word) -> dict[str, Any]:
        return {"error": word.value}

    def _read_id(self, word: Word) -> dict[str, Any]:
        parts = _parts(word)
        if not all(part.isdecimal() and 0 < int(part[:20]) <= LARGEST_ID for part in parts):
            raise word.refused(f"{word.value!r} is no id of a job; write {KEYS['id']}")
        return {"ids": tuple(int(part) for part in parts)}

    def _read_flow(self, word: Word) -> dict[str, Any]:
        parts = _parts(word)
        if not all(part.isdecimal() and 0 < int(part[:20]) <= LARGEST_ID for part in parts):
            raise word.refused(f"{word.value!r} is no number of a flow; write {KEYS['flow']}")
        return {"flows": tuple(int(part) for part in parts)}

    def _read_state(self, word: Word) -> dict[str, Any]:
        known = [state.value for state in JobState]
        for part in _parts(word):
            if part not in known:
                hint = did_you_mean(part, known) or ";"
                raise word.refused(f"{part!r} is no state{hint} there are: {', '.join(known)}")
        return {"states": tuple(JobState(part) for part in _parts(word))}

    def _read_queue(self, word: Word) -> dict[str, Any]:
        for part in _parts(word):
            if not is_queue_name(part):
                raise word.refused(f"{part!r} is no queue; expected {QUEUE_NAME_RULE}")
        return {"queues": _parts(word)}

    def _read_job(self, word: Word) -> dict[str, Any]:
        names: list[str] = []
        for part in _parts(word):
            try:
                names += self._names_of(part)
            except UnknownJob as error:
                raise word.refused(str(error)) from None
        return {"handlers": tuple(dict.fromkeys(names))}

    def _read_worker(self, word: Word) -> dict[str, Any]:
        return {"workers": _parts(word)}

    def _read_error_key(self, word: Word) -> dict[str, Any]:
        return {"error_keys": _parts(word)}

    def _read_attempts(self, word: Word) -> dict[str, Any]:
        if not word.value.isdecimal() or not 0 < int(word.value[:12]) <= MOST_ATTEMPTS:
            raise word.refused("attempts: takes a whole number from 1; jobs with at least so many")
        return {"attempts": int(word.value)}

    def _read_due(self, word: Word) -> dict[str, Any]:
        if word.value not in {"yes", "no"}:
            raise word.refused(f"due: takes yes or no, and not {word.value!r}")
        return {"due": word.value == "yes"}

    def _read_created(self, word: Word) -> dict[str, Any]:
        return {"created": self._between(word)}

    def _read_started(self, word: Word) -> dict[str, Any]:
        return {"started": self._between(word)}

    def _read_finished(self, word: Word) -> dict[str, Any]:
        return {"finished": self._between(word)}

    def _read_since(self, word: Word) -> dict[str, Any]:
        changed = self.where.changed or Between()
        return {"changed": replace(changed, first=self._moment(word, word.value))}

    def _read_until(self, word: Word) -> dict[str, Any]:
        changed = self.where.changed or Between()
        return {"changed": replace(changed, last=self._moment(word, word.value))}

    def _take_json(self, kind: str, word: Word) -> None:
        """Take a path into the arguments or the meta; several may be given."""
        path = word.key.split(".")[1:]
        if not all(_NAME.fullmatch(name) for name in path):
            raise word.refused(f"{word.key} is no path; write {KEYS[f'{kind}.…']}, for example")
        if not word.value:
            raise word.refused(f"{word.key}: has no value; write * for any")
        value = None if word.value == "*" and '"' not in word.text else word.value
        wanted = JsonValue(tuple(path), value)
        if kind == "args":
            self.where = replace(self.where, args=(*self.where.args, wanted))
        else:
            self.where = replace(self.where, meta=(*self.where.meta, wanted))

    # --- times -----------------------------------------------------------------------------------

    def _between(self, word: Word) -> Between:
        """The stretch of time `A..B`, of which one end may be left out, or from `A` until now."""
        first, dots, last = word.value.partition("..")
        if not dots:
            return Between(self._moment(word, first))
        if not first and not last:
            raise word.refused(f"{word.key}: has neither end; write {KEYS[word.key]}")
        return Between(
            self._moment(word, first) if first else None,
            self._moment(word, last) if last else None,
        )

    def _moment(self, word: Word, text: str) -> datetime:
        """An age, such as `2h`, or a date or a time; without a time zone in UTC."""
        age = _AGE.fullmatch(text)
        try:
            if age is not None:
                return self._now - timedelta(seconds=float(age[1]) * UNITS[age[2]])
            moment = datetime.fromisoformat(text)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            raise word.refused(
                f"{text!r} is no time; write an age (30m, 2h, 7d) or a time (2026-01-31T08:00Z)"
            ) from None


def _parts(word: Word) -> tuple[str, ...]:
    parts = tuple(dict.fromkeys(part.strip() for part in word.value.split(",")))
    if "" in parts:
        raise word.refused(f"{word.key}: has an empty value; write {KEYS[word.key]}")
    return parts


def _why_unknown(word: Word) -> str:
    if word.key in JSON_KEYS:
        return f"{word.key}: needs a path; write {KEYS[f'{word.key}.…']}, for example"
    hint = did_you_mean(word.key, list(KEYS)) or ";"
    return (
        f"{word.key!r} is nothing to ask for{hint} there are: {', '.join(KEYS)}. Text of the error "
        'that has a colon in it goes into quotes: "a: b"'
    )


def _name(word: Word) -> str:
    return f"{word.key}:" if word.key else "text for the error"


def _how_to_join(word: Word) -> str:
    if not word.key:
        return 'put it into quotes: "two words"'
    if word.key in {"id", "state", "queue", "job", "worker", "flow", "error_key"}:
        return f"write several values with commas: {word.key}:a,b"
    return "leave one out"
