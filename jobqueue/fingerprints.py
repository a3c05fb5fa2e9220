"""Fingerprints of errors: those that are alike have the same, and so are in one group.

What differs from one job to the next (numbers, ids, quoted text, addresses, times) is replaced in
the message. Messages come from outside, so the work is bounded: a long one is cut before anything
is looked for in it, and no pattern tries the same characters in more than a few ways.
"""

from __future__ import annotations

import functools
import hashlib
import re

from jobqueue.records import ErrorGroup
from jobqueue.redaction import clean_error

LONGEST_READ = 1_000
"""How many characters of a message are looked at."""
LONGEST_MESSAGE = 300
LONGEST_NAME = 300
KEY_DIGITS = 12
WORKER_GONE = "WorkerGone"
"""The type that a group has whose jobs lost their worker: there is no exception then."""
OTHER = ErrorGroup("other", "other", "other", None, "other")
"""The group of errors for which there is no room in groups of their own."""

_QUOTED = (
    # An apostrophe within a word is none that ends a quotation.
    r"(?<!\w)[bruf]{0,2}'(?:[^']|(?<=\w)'(?=\w))*'(?!\w)",
    r'(?<!\w)[bruf]{0,2}"[^"]*"',
    r"`[^`]*`",
    r"[“„][^“”]*[“”]",
    r"«[^»]*»",
    r"\u2018[^\u2019]*\u2019(?!\w)",
)
_REPLACED = (
    (r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?", "<time>"),
    (r"(?<![\d:])\d\d?:\d\d:\d\d(?:[.,]\d{1,9})?(?![\d:])", "<time>"),
    (r"(?<![A-Za-z0-9])[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s'\"<>`]+", "<url>"),
    ("|".join(_QUOTED), "<text>"),
    (r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}", "<email>"),
    (r"(?<!\w)[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}(?!\w)", "<id>"),
    (r"(?<!\w)0[xX][0-9a-fA-F]+(?!\w)", "<address>"),
    (r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?(?![\w.]*\d)", "<ip>"),
    (r"(?<![\w:])(?=[0-9a-fA-F:]*[0-9a-fA-F])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:])",
     "<ip>"),
    # Eight letters and digits or more with both among them: a hash, a key, a part of a name.
    (r"(?<![A-Za-z0-9])(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{8,}(?![A-Za-z0-9])", "<id>"),
    (r"(?:(?<!\w)[-+])?\d+(?:[.,_]\d+)*(?:[eE][-+]?\d+)?", "<number>"),
    # A list of them may be of any length.
    (r"(<(?:time|url|text|email|id|address|ip|number)>)(?:[\s,;]{1,3}\1)+", r"\1, …"),
)  # fmt: skip
_PATTERNS = tuple((re.compile(pattern), by) for pattern, by in _REPLACED)

# `host:group.index:1a2b3c4d`, `host:4711:1a2b3c4d`, and the name of a process, `group.index`.
_WORKER_ID = re.compile(r"(?<!\S)[^\s:]{1,255}:[^\s:]{1,140}:[0-9a-f]{8}(?!\S)")
_PROCESS = re.compile(r"(?<=process )[\w.:-]{1,128}\.\d+(?!\S)")


def group_of(handler: str, kind: str, place: str | None, message: str) -> ErrorGroup:
    """Return the group of an error. Nothing in the texts may be secret any more.

    Args:
        handler: the job class, by the name in its rows.
        kind: the type of the exception.
        place: the innermost frame of the application's own code, if there is one.
        message: its text, of any length.
    """
    return _group_of(
        handler,
        _short(kind, LONGEST_NAME),
        None if place is None else _short(place, LONGEST_NAME),
        _short(message, LONGEST_READ),
    )


def group_of_rescued(handler: str, error: str) -> ErrorGroup:
    """Return the group of a job whose worker is gone, from the error that its row was given.

    Args:
        handler: the job class, by the name in its rows.
        error: its `last_error`, which says what became of the worker.
    """
    said = _short(error, LONGEST_READ)
    said = _PROCESS.sub("<worker>", _WORKER_ID.sub("<worker>", said))
    return group_of(handler, WORKER_GONE, None, said)


def _short(text: str, longest: int) -> str:
    """The beginning of a text, in a form that every database can store."""
    return clean_error(text[:longest])[:longest]


# Jobs that fail in great numbers mostly fail alike.
@functools.lru_cache(maxsize=1_000)
def _group_of(handler: str, kind: str, place: str | None, message: str) -> ErrorGroup:
    plain = plain_message(message)
    facts = "\0".join((handler, kind, place or "", plain))
    digest = hashlib.sha256(facts.encode("utf-8", "backslashreplace")).hexdigest()
    return ErrorGroup(digest[:KEY_DIGITS], handler, kind, place, plain)


def plain_message(message: str) -> str:
    """Return a message on one line, with what differs from job to job replaced."""
    plain = " ".join(message[:LONGEST_READ].split())
    for pattern, by in _PATTERNS:
        plain = pattern.sub(by, plain)
    return plain if len(plain) <= LONGEST_MESSAGE else plain[: LONGEST_MESSAGE - 1] + "…"
