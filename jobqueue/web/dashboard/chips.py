"""Chips of a query: one for each of its words, and those that are often asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jobqueue.errors import InvalidQuery
from jobqueue.views.job_query import Word, words_of

STATES = (
    ("All", ()),
    ("Failed", ("state:failed",)),
    ("Running", ("state:running",)),
    ("Due", ("state:ready", "due:yes")),
    ("Later", ("state:ready", "due:no")),
    ("Cancelled", ("state:cancelled",)),
    ("Succeeded", ("state:succeeded",)),
)
LAST_HOUR = "since:1h"


@dataclass(frozen=True, slots=True)
class Chip:
    """A link to another query.

    Args:
        text: what it says.
        query: the query that it leads to.
        is_on: whether the query at hand has it.
    """

    text: str
    query: str
    is_on: bool = False


def word_chips(query: str) -> tuple[Chip, ...]:
    """Return a chip for each word of a query, which leads to the query without it."""
    words = _words(query)
    return tuple(Chip(word.text, _joined(words, without=word)) for word in words)


def quick_chips(query: str) -> tuple[Chip, ...]:
    """Return the chips that are often asked for; they leave the other words of a query alone."""
    words = _words(query)
    others = [word.text for word in words if word.key not in {"state", "due"}]
    now = {word.text for word in words if word.key in {"state", "due"}}
    states = [Chip(text, " ".join([*asked, *others]), now == set(asked)) for text, asked in STATES]
    return (*states, _last_hour(words))


def _last_hour(words: list[Word]) -> Chip:
    others = [word.text for word in words if word.key != "since"]
    is_on = any(word.text == LAST_HOUR for word in words)
    return Chip("Last hour", " ".join(others if is_on else [*others, LAST_HOUR]), is_on)


def _words(query: str) -> list[Word]:
    try:
        return list(words_of(query))
    except InvalidQuery:
        return []  # the page says what is wrong with it


def _joined(words: Iterable[Word], without: Word) -> str:
    return " ".join(word.text for word in words if word is not without)
