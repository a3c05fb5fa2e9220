"""Notifications as anybody may send them who may connect: no worker dies of one, or is slow."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue import Job, JobQueue
from jobqueue.adapters import connect
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.adapters.postgres.announcer import NOTIFY
from jobqueue.adapters.postgres.low_water import MOST_LANES, LowWater
from jobqueue.adapters.postgres.schema_name import SchemaName
from jobqueue.records import LOOK_ANYWHERE, Claim, Wakeup, facts_of
from tests.sample_jobs import Note, calls

WaitFor = Callable[[Callable[[], bool], str], None]

SEED = 15
NOTIFICATIONS = 400
PROMPT_SECONDS = 5.0  # a poll would come after a minute; a busy machine needs some
NOW = "2026-01-01T00:00:00+00:00"
GOOD: dict[str, Any] = {"queues": ["default"], "lowest": [50, NOW, 1], "jobs": 1, "more": False}
PLACES: tuple[Any, ...] = (
    [50, NOW, 2**63],
    [50, NOW, -(2**63) - 1],
    [50, NOW, 10**4000],
    [2**31, NOW, 1],
    [-(2**31) - 1, NOW, 1],
    [50, "2026-01-01T00:00:00", 1],
    [50, "0001-01-01T00:00:00+23:59", 1],
    [50, "9999-12-31T23:59:59-23:59", 1],
    [50, "infinity", 1],
    [50, "", 1],
    [50, 0, 1],
    ["50", NOW, "1"],
    [50.0, NOW, 1],
    [True, NOW, 1],
    [float("inf"), NOW, 1],
    [None, None, None],
    [50, NOW],
    [50, NOW, 1, 1],
    [],
    {},
    "lowest",
    0,
    False,
)
QUEUES: tuple[Any, ...] = (
    *([], {}, "default", 1, [1], [None], [["a"]], ["\0"]),
    *(["x" * 300], ["\ud800"], ["a b"], ["a"] * 100),
)
NUMBERS: tuple[Any, ...] = (-1, 0, "1", 1.5, True, [], 2**70, float("inf"))
TRUTHS: tuple[Any, ...] = (1, "true", None, [], {})
ODD = (
    *({**GOOD, "lowest": place} for place in PLACES),
    *({**GOOD, "queues": queues} for queues in QUEUES),
    *({**GOOD, "jobs": jobs} for jobs in NUMBERS),
    *({**GOOD, "more": more} for more in TRUTHS),
)
PAYLOADS = (
    *(json.dumps(facts)[:7000] for facts in ODD),
    *("", " ", "null", "true", "1e999", "-1e999", "NaN", "[]", '"x"', "{", "not JSON", "{}"),
    *('{"lowest": [50, "', '{"lowest": [1e999, "", 1e999]}', '{"jobs": 1e999}', '{"verify": 1}'),
    *("[" * 7000, '{"a":' * 1400, '{"queues": ' + "[" * 3000 + "]" * 3000 + "}", "9" * 7000),
    json.dumps({"queues": ["q"] * 1200}),
    json.dumps({**GOOD, "later": {"releases": "say more"}}),
)


@pytest.mark.parametrize("facts", ODD, ids=lambda facts: json.dumps(facts)[:60])
def test_whatever_is_wrong_means_look_anywhere(facts: dict[str, Any]) -> None:
    assert Wakeup.from_facts(facts) == LOOK_ANYWHERE


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(NOW),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*GOOD, "x"]), inner),
))  # fmt: skip
def test_anything_is_read(value: Any) -> None:
    """What comes out can be sent on, and can be claimed by: its numbers fit the columns."""
    wakeup = Wakeup.from_facts(facts_of(json.dumps(value)))
    assert Wakeup.from_facts(facts_of(wakeup.to_json())) == wakeup
    if wakeup.lowest is not None:
        assert -(2**31) <= wakeup.lowest[0] < 2**31
        assert -(2**63) <= wakeup.lowest[2] < 2**63


def test_what_we_send_is_understood() -> None:
    facts = {**GOOD, "later": {"releases": "say more"}}
    wakeup = Wakeup.from_facts(facts)
    assert wakeup.lowest is not None
    assert (wakeup.queues, wakeup.jobs) == (frozenset(["default"]), 1)


@pytest.fixture
def adapter(postgres_url: str) -> Iterator[PostgresAdapter]:
    with closing(connect(postgres_url)) as made:
        assert isinstance(made, PostgresAdapter)
        Job.config(adapter=made)
        calls.clear()
        yield made


def send(url: str, payloads: list[str]) -> None:
    sql = SchemaName("public").written_into(NOTIFY).encode()
    with psycopg.connect(url, autocommit=True) as connection:
        for payload in payloads:
            connection.execute(sql, {"payload": payload.replace("\0", "")})


@pytest.mark.parametrize("queues", [None, "default,other"])
def test_a_worker_that_listens_stays_alive_and_prompt(
    adapter: PostgresAdapter, postgres_url: str, queues: str | None, wait_for: WaitFor
) -> None:
    chance = random.Random(SEED)
    with JobQueue(adapter, poll_interval=60, queues=queues).running():
        Note.perform_later("first")
        wait_for(lambda: "first" in calls, "the worker to begin")
        for number in range(8):
            sent = chance.choices(PAYLOADS, k=NOTIFICATIONS // 8)
            send(postgres_url, [_mangled(payload, chance) for payload in sent])
            begun = time.monotonic()
            Note.perform_later(f"honest {number}")
            wait_for(lambda number=number: f"honest {number}" in calls, f"job {number}")  # type: ignore[misc]
            assert time.monotonic() - begun < PROMPT_SECONDS


def _mangled(payload: str, chance: random.Random) -> str:
    """A payload, or half of the time one with some characters replaced or lost."""
    if chance.random() < 0.5 or not payload:
        return payload
    place = chance.randrange(len(payload))
    return payload[:place] + chance.choice('"[]{}:,0e-\\ ') + payload[place + 1 :]


def test_many_places_that_nobody_enqueued_at_fill_no_memory(adapter: PostgresAdapter) -> None:
    low_water, next_due = LowWater(None), adapter.wakeups.next_due
    for priority in range(10 * MOST_LANES):
        wakeup = Wakeup.from_facts({"lowest": [priority, NOW, 1], "queues": ["default"]})
        low_water.note(wakeup)
        next_due.note(wakeup)
    assert len(low_water.lanes()) <= MOST_LANES
    assert low_water.has_to_look()
    assert len(next_due._heard) <= MOST_LANES
    next_due.find()


def test_a_claim_for_odd_notifications_finds_honest_jobs(adapter: PostgresAdapter) -> None:
    for number, payload in enumerate(PAYLOADS):
        Note.perform_later(f"job {number}")
        heard = Wakeup.from_facts(facts_of(payload))
        turn = adapter.turn([], Claim("w", number + 1, 10, 10, heard=heard))
        assert turn.claimed, payload
