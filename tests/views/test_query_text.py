"""Filters as queries, and as the JSON that a bulk action remembers."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.records import (
    Between,
    JobFilter,
    JobState,
    JsonValue,
    filter_from_json,
    filter_to_json,
)
from jobqueue.views.job_query import job_filter_of
from jobqueue.views.query_text import query_text

NOW = datetime(2026, 12, 1, 3, 0, tzinfo=UTC)
# A query has printable characters only. The parser takes no others.
TEXTS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
WORDS = st.text("abcABC_0189", min_size=1, max_size=8)
IDS = st.integers(1, 2**63 - 1)
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
BETWEENS = st.builds(Between, MOMENTS, st.none() | MOMENTS) | st.builds(Between, st.none(), MOMENTS)
JSON_VALUES = st.builds(JsonValue, st.tuples(WORDS, WORDS), st.none() | TEXTS)


def some(values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """None, or several different ones."""
    return st.none() | st.lists(values, min_size=1, max_size=3, unique=True).map(tuple)


FILTERS = st.builds(
    JobFilter,
    ids=some(IDS),
    states=some(st.sampled_from(JobState)),
    queues=some(WORDS),
    handlers=some(WORDS),
    due=st.none() | st.booleans(),
    workers=some(st.sampled_from(["web-1:4711:8f3a61c2", "db:1:x"])),
    created=st.none() | BETWEENS,
    started=st.none() | BETWEENS,
    finished=st.none() | BETWEENS,
    changed=st.none() | BETWEENS,
    attempts=st.none() | st.integers(1, 99),
    args=st.lists(JSON_VALUES, max_size=2).map(tuple),
    meta=st.lists(JSON_VALUES, max_size=2).map(tuple),
    error=st.none() | TEXTS,
    error_keys=some(WORDS),
)


@given(FILTERS)
def test_a_filter_is_read_again_from_its_query(where: JobFilter) -> None:
    text = query_text(where)
    if where == JobFilter():
        assert text == ""
    else:
        assert job_filter_of(text, NOW, lambda name: [name]) == where


@given(FILTERS, st.none() | IDS)
def test_a_filter_is_read_again_from_its_json(where: JobFilter, before_id: int | None) -> None:
    assert filter_from_json(json.loads(json.dumps(filter_to_json(where)))) == where


def test_how_a_query_is_written() -> None:
    where = JobFilter(
        states=(JobState.FAILED,),
        queues=("email", "sms"),
        created=Between(NOW),
        args=(JsonValue(("user", "id"), "42"), JsonValue(("note",), "two words")),
        meta=(JsonValue(("tenant",)),),
        error='no "route"',
    )
    assert query_text(where) == (
        "state:failed queue:email,sms created:2026-12-01T03:00:00+00:00.. args.user.id:42 "
        'args.note:"two words" meta.tenant:* "no \\"route\\""'
    )


@pytest.mark.parametrize(
    "odd",
    [
        None,
        [],
        "state:failed",
        {"unknown": 1},
        {"states": "failed"},
        {"states": ["odd"]},
        {"ids": ["1"]},
        {"ids": [True]},
        {"created": ["2026-12-01T03:00:00+00:00"]},
        {"created": ["2026-12-01T03:00:00", None]},
        {"created": [5, None]},
        {"due": 1},
        {"attempts": 1.5},
        {"args": [{"path": ["a"]}]},
        {"args": [{"path": [], "value": "1"}]},
        {"args": [{"path": ["a"], "value": 1}]},
        {"error": None},
    ],
)
def test_json_that_is_no_filter_is_refused_whole(odd: object) -> None:
    """A part that was left out would mean more jobs."""
    with pytest.raises(ValueError, match=r"."):
        filter_from_json(odd)
