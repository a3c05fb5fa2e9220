"""The language in which people ask for jobs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.errors import InvalidQuery, UnknownJob
from jobqueue.records import Between, JobFilter, JobState, JsonValue
from jobqueue.views.job_query import KEYS, LONGEST_QUERY, job_filter_of, narrowed
from tests.conftest import Project

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def names_of(name: str) -> list[str]:
    if name == "Nobody":
        raise UnknownJob("no job is named 'Nobody'")
    return [f"shop.{name}", f"former.{name}"]


def read(query: str) -> JobFilter:
    return job_filter_of(query, NOW, names_of)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state:failed", {"states": (JobState.FAILED,)}),
        ("state:failed,ready", {"states": (JobState.FAILED, JobState.READY)}),
        ("queue:email,a.b-c", {"queues": ("email", "a.b-c")}),
        ("job:Send", {"handlers": ("shop.Send", "former.Send")}),
        ("id:42,7", {"ids": (42, 7)}),
        ("worker:web-1:4711:8f3a", {"workers": ("web-1:4711:8f3a",)}),
        ("error_key:5f0c,abc", {"error_keys": ("5f0c", "abc")}),
        ("attempts:3", {"attempts": 3}),
        ("due:yes", {"due": True}),
        ("due:no", {"due": False}),
        ("created:2h", {"created": Between(NOW - 2 * HOUR)}),
        ("started:90m", {"started": Between(NOW - 1.5 * HOUR)}),
        (
            "finished:2026-01-30..2026-01-31T08:00+01:00",
            {
                "finished": Between(
                    datetime(2026, 1, 30, tzinfo=UTC), datetime(2026, 1, 31, 7, tzinfo=UTC)
                )
            },
        ),
        ("created:..1d", {"created": Between(None, NOW - 24 * HOUR)}),
        ("created:3h..", {"created": Between(NOW - 3 * HOUR)}),
        ("since:2h until:30m", {"changed": Between(NOW - 2 * HOUR, NOW - HOUR / 2)}),
        ("until:30m since:2h", {"changed": Between(NOW - 2 * HOUR, NOW - HOUR / 2)}),
        ("args.user_id:42", {"args": (JsonValue(("user_id",), "42"),)}),
        ('args.a.b:"x y"', {"args": (JsonValue(("a", "b"), "x y"),)}),
        ("args.a:*", {"args": (JsonValue(("a",)),)}),
        ('args.a:"*"', {"args": (JsonValue(("a",), "*"),)}),
        ("args.a:1 args.b:2", {"args": (JsonValue(("a",), "1"), JsonValue(("b",), "2"))}),
        ("meta.tenant:42", {"meta": (JsonValue(("tenant",), "42"),)}),
        ('"no route: to \\"host\\""', {"error": 'no route: to "host"'}),
        ("timeout", {"error": "timeout"}),
        (
            'state:failed queue:email job:Send args.user_id:42 since:2h "text of the error"',
            {
                "states": (JobState.FAILED,),
                "queues": ("email",),
                "handlers": ("shop.Send", "former.Send"),
                "args": (JsonValue(("user_id",), "42"),),
                "changed": Between(NOW - 2 * HOUR),
                "error": "text of the error",
            },
        ),
    ],
)
def test_what_a_query_asks_for(query: str, expected: dict[str, Any]) -> None:
    assert read(query) == JobFilter(**expected)


@pytest.mark.parametrize(
    ("query", "said", "pointed_at"),
    [
        ("queue:a state:faild", "'faild' is no state; did you mean 'failed'? there are: ready", 8),
        ("stat:failed", "'stat' is nothing to ask for; did you mean 'state'? there are: id", 0),
        ("x colour:red", "'colour' is nothing to ask for; there are: id, state, queue", 2),
        ("state:", "state: has no value; write state:failed,cancelled, for example", 0),
        ("state:failed,", "state: has an empty value", 0),
        ("state:failed state:ready", "state: comes twice; write several values with commas", 13),
        ("no route", 'text for the error comes twice; put it into quotes: "two words"', 3),
        ("queue:a/b", "'a/b' is no queue; expected", 0),
        ("job:Nobody", "no job is named 'Nobody'", 0),
        ("id:x", "'x' is no id of a job", 0),
        ("id:99999999999999999999999", "is no id of a job", 0),
        ("attempts:-1", "attempts: takes a whole number from 1", 0),
        ("due:maybe", "due: takes yes or no, and not 'maybe'", 0),
        ("since:soon", "'soon' is no time; write an age (30m, 2h, 7d) or a time", 0),
        ("since:99999999999999w", "is no time", 0),
        ("created:..", "created: has neither end; write created:2h", 0),
        ("args:42", "args: needs a path; write args.user_id:42, for example", 0),
        ("args.:42", "args. is no path", 0),
        ("args.a:", "args.a: has no value; write * for any", 0),
        ('queue:a "no end', "this quote is not closed; write another at the end", 8),
        ("", "the query is empty; write state:failed, for example", 0),
        (" \t ", "the query is empty", 0),
        ('" "', "error: has no value", 0),
        ('error:" \t"', "error: has no value", 0),
        ('""', "error: has no value", 0),
        ('queue:" "', "queue: has no value", 0),
        ("a\0b", "the character '\\x00' is in no job", 1),
        ("worker:\udcff", "is in no job", 7),
        ('state:failed ""', 'error: has no value; write error:"no route"', 13),
        ("x" * (LONGEST_QUERY + 1), "a query has 2,000 characters at most", 0),
    ],
)
def test_what_cannot_be_understood_is_pointed_at(query: str, said: str, pointed_at: int) -> None:
    with pytest.raises(InvalidQuery) as raised:
        read(query)
    assert said in str(raised.value)
    assert raised.value.start == pointed_at
    shown, marks = raised.value.__notes__
    assert marks.index("^") == pointed_at + 2
    assert len(marks) <= len(shown) + 1


@given(st.text(alphabet=st.sampled_from('abst:. "\\,*\n2hé\0{}'), max_size=40) | st.text())
def test_any_text_is_understood_or_pointed_at(query: str) -> None:
    try:
        found: JobFilter | InvalidQuery = read(query)
    except InvalidQuery as error:
        found = error
    assert isinstance(found, JobFilter) or 0 <= found.start <= len(found.query)


def test_every_key_has_an_example_that_is_understood() -> None:
    for key, example in KEYS.items():
        for query in example.removesuffix(" (at least)").replace(", or ", " or ").split(" or "):
            assert read(query) != JobFilter(), key


def test_beside_options() -> None:
    where = JobFilter(states=(JobState.FAILED,), before_id=7)
    found = narrowed(where, "queue:email", NOW, names_of)
    assert found == JobFilter(states=(JobState.FAILED,), before_id=7, queues=("email",))
    with pytest.raises(InvalidQuery, match="the query and an option both say which states"):
        narrowed(where, "state:failed", NOW, names_of)


def test_on_the_command_line(project: Project) -> None:
    for name, queue in (("Ada", "a"), ("Bob", "b"), ("Bob", "a")):
        project.jobs("enqueue", "Greet", json.dumps({"name": name}), "--queue", queue)

    def listed(*words: str) -> list[int]:
        return [job["id"] for job in json.loads(project.jobs("list", *words, "--json").out)]

    assert listed("args.name:Bob") == [3, 2]
    assert listed("args.name:Bob queue:a") == listed("args.name:Bob", "queue:a") == [3]
    assert listed("args.name:Bob", "--queue", "b") == [2]
    assert listed("job:Greet created:1h", "--limit", "1") == [3]
    assert listed("some error") == []
    wrong = project.jobs("list", "args.name:Bob", "stat:ready")
    assert (wrong.exit_code, wrong.out) == (2, "")
    assert wrong.err == (
        "Error: 'stat' is nothing to ask for; did you mean 'state'? there are: "
        f'{", ".join(KEYS)}. Text of the error that has a colon in it goes into quotes: "a: b"\n'
        "  args.name:Bob stat:ready\n"
        "                ^^^^^^^^^^\n"
    )
    removed = project.jobs("clear", "--query", "args.name:Bob queue:b", "--yes")
    assert removed.out.startswith("Removed 1 job.")
    assert listed() == [3, 1]
