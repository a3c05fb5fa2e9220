"""Reads: single jobs, lists, pages, filters, counts and depths."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import (
    LARGEST_PAGE_CHARACTERS,
    Between,
    Count,
    Discarded,
    Failed,
    JobFilter,
    JobState,
    JsonValue,
    LaneDepth,
    QueueDepth,
    Succeeded,
)
from jobqueue.testing.contract.base import (
    ContractBase,
    a_claim,
    claim_one,
    enqueue_one,
    ids,
    new_job,
    one_of_each_state,
    settle_all,
)

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
NO_IDS = (0, -1, 999_999_999, 2**31, 2**63 - 1, 2**63, 10**30, -(10**30))


FILTERS = (
    JobFilter(),
    JobFilter(states=(JobState.READY,)),
    JobFilter(states=(JobState.SUCCEEDED,)),
    JobFilter(states=(JobState.FAILED, JobState.CANCELLED, JobState.READY)),
    JobFilter(states=(JobState.READY, JobState.READY)),
    JobFilter(states=()),
    JobFilter(queues=("a",)),
    JobFilter(queues=("a", "b", "a", "none")),
    JobFilter(handlers=("One",)),
    JobFilter(handlers=("One", "Two", "One")),
    JobFilter(handlers=("One",), queues=("b",), states=(JobState.FAILED, JobState.READY)),
    JobFilter(due=True),
    JobFilter(due=False, queues=("a",)),
    JobFilter(ids=(1, 2, 3, 10**30), states=(JobState.READY, JobState.SUCCEEDED)),
    JobFilter(before_id=20, queues=("a",)),
)


def some_of_each(adapter: Adapter) -> None:
    """Jobs of two classes in two queues, in every state, in no order."""
    for number in range(30):
        handler, queue = ("One", "Two")[number % 2], ("a", "b")[number // 2 % 2]
        delay = timedelta(hours=number % 3)
        adapter.enqueue([new_job(handler, queue=queue, delay=delay, priority=number % 4)])
    first, second, third, *_ = adapter.claim(a_claim(limit=7))
    settle_all(
        adapter,
        Succeeded(first, keep=True),
        Failed(second, error="broken"),
        Discarded(third, reason="unwanted"),
    )
    adapter.cancel(JobFilter(ids=(20, 21)), "no")


def pages_of(adapter: Adapter, where: JobFilter, limit: int) -> list[list[int]]:
    """The ids of every page."""
    pages, before = [], where.before_id
    while True:
        page = adapter.page_jobs(replace(where, before_id=before), limit)
        pages.append(ids(list(page.jobs)))
        before = page.next_before_id
        if before is None:
            return pages


class ReadsContract(ContractBase):
    """Tests the methods that read jobs and change nothing."""

    def test_an_empty_database(self, adapter: Adapter) -> None:
        assert adapter.get(1) is None
        assert adapter.list_jobs(JobFilter(), 10) == []
        assert adapter.count_jobs(JobFilter()) == 0
        assert adapter.count_by_state() == {}
        assert adapter.paused_queues() == set()
        assert adapter.workers() == []
        assert adapter.orphaned_workers() == []

    @pytest.mark.parametrize("job_id", NO_IDS)
    def test_ids_that_are_none(self, adapter: Adapter, job_id: int) -> None:
        made = enqueue_one(adapter)
        assert adapter.get(job_id) is None
        assert ids(adapter.list_jobs(JobFilter(ids=(job_id, made.id)), 10)) == [made.id]
        assert adapter.count_jobs(JobFilter(ids=(job_id,))) == 0
        assert adapter.retry(JobFilter(ids=(job_id,))) == 0
        assert adapter.cancel(JobFilter(ids=(job_id,)), "no") == 0
        assert adapter.delete(JobFilter(ids=(job_id,))) == 0
        below = adapter.list_jobs(JobFilter(before_id=job_id), 10)
        assert ids(below) == ([made.id] if job_id > made.id else [])

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            (JsonValue(("user", "id"), "42"), [0, 1]),
            (JsonValue(("user", "id"), "43"), []),
            (JsonValue(("user", "id")), [0, 1, 2]),
            (JsonValue(("user", "no"), "42"), []),
            (JsonValue(("name",), "Zo\u00eb \U0001f600"), [0]),
            (JsonValue(("name",), 'a "b" \\ c'), [1]),
            (JsonValue(("ok",), "true"), [0]),
            (JsonValue(("ok",), "false"), [1]),
            (JsonValue(("ok",), "null"), [2]),
            (JsonValue(("ok",)), [0, 1, 2]),
            (JsonValue(("list", "1"), "2"), [3]),
            (JsonValue(("list", "-1"), "2"), []),
            (JsonValue(("list", "+1"), "2"), []),
            (JsonValue(("list", "\u0661"), "2"), []),
            (JsonValue(("list",), "[1,2]"), []),
            (JsonValue(("7",), "seven"), [3]),
            (JsonValue(("a b.c",), "1.5"), [3]),
            (JsonValue(("user",), "; DROP TABLE background_jobs --"), []),
        ],
    )
    def test_values_of_the_arguments_and_of_the_meta(
        self, adapter: Adapter, wanted: JsonValue, found: list[int]
    ) -> None:
        texts = [
            '{"user": {"id": 42}, "name": "Zo\u00eb \U0001f600", "ok": true}',
            '{"user": {"id": "42"}, "name": "a \\"b\\" \\\\ c", "ok": false}',
            '{"user": {"id": 4.2}, "ok": null}',
            '{"list": [1, 2], "7": "seven", "a b.c": 1.5}',
        ]
        by_args = ids(adapter.enqueue([new_job(args=text) for text in texts]))
        by_meta = ids(adapter.enqueue([replace(new_job(), meta=text) for text in texts]))
        expected = ([by_args[n] for n in found], [by_meta[n] for n in found])
        assert asked(adapter, JobFilter(args=(wanted,))) == expected[0]
        assert asked(adapter, JobFilter(meta=(wanted,))) == expected[1]

    def test_several_values_have_to_match(self, adapter: Adapter) -> None:
        one, two = JsonValue(("a",), "1"), JsonValue(("b",), "2")
        both = enqueue_one(adapter, new_job(args='{"a": 1, "b": 2}'))
        enqueue_one(adapter, new_job(args='{"a": 1}'))
        assert asked(adapter, JobFilter(args=(one, two))) == [both.id]
        assert asked(adapter, JobFilter(args=(one,), queues=("default",))) != [both.id]

    def test_times_of_a_job(self, adapter: Adapter, clock: ManualClock) -> None:
        start = clock.now()
        enqueue_one(adapter)
        clock.advance(MINUTE)
        job = claim_one(adapter)
        clock.advance(MINUTE)
        settle_all(adapter, Failed(job, error="no"))
        clock.advance(MINUTE)
        waiting = enqueue_one(adapter).id
        moments = {
            "created": start,
            "started": start + 2 * MINUTE,  # it took no time
            "finished": start + 2 * MINUTE,
            "changed": start + 2 * MINUTE,
        }
        second = timedelta(seconds=1)
        for name, moment in moments.items():
            for between, matches in (
                (Between(moment, moment), True),
                (Between(moment + second), False),
                (Between(None, moment - second), False),
                (Between(moment - second, moment + second), True),
                (Between(), True),
            ):
                found = asked(adapter, JobFilter(**{name: between}))  # type: ignore[arg-type]
                assert (job.id in found) is matches, (name, between)
        assert waiting not in asked(adapter, JobFilter(finished=Between(start)))
        assert waiting in asked(adapter, JobFilter(created=Between(start)))

    def test_workers_attempts_and_errors(self, adapter: Adapter) -> None:
        adapter.enqueue([new_job(priority=n) for n in range(4)])
        first, second = adapter.claim(a_claim("worker-1", limit=2))
        (third,) = adapter.claim(a_claim("worker-2", limit=1))
        settle_all(
            adapter,
            Failed(first, error="No route to 100% of_hosts / Über"),
            Failed(second, error="no ROUTE"),
        )
        for where, jobs in (
            (JobFilter(workers=("worker-1",)), [first, second]),
            (JobFilter(workers=("worker-2", "worker-3")), [third]),
            (JobFilter(workers=("worker-2",), states=(JobState.FAILED,)), []),
            (JobFilter(attempts=1), [first, second, third]),
            (JobFilter(attempts=2), []),
            (JobFilter(error="no route"), [first, second]),
            (JobFilter(error="100% OF_"), [first]),
            (JobFilter(error="100%_of"), []),
            (JobFilter(error="hosts / Über"), [first]),
        ):
            assert asked(adapter, where) == ids(jobs), where

    def test_the_newest_first_and_no_more_than_the_limit(self, adapter: Adapter) -> None:
        made = ids(adapter.enqueue([new_job(priority=n) for n in range(10)]))
        assert ids(adapter.list_jobs(JobFilter(), 100)) == made[::-1]
        assert ids(adapter.list_jobs(JobFilter(), 3)) == made[:6:-1]

    def test_pages(self, adapter: Adapter) -> None:
        made = ids(adapter.enqueue([new_job() for _ in range(10)]))
        page = adapter.list_jobs(JobFilter(before_id=made[7]), 3)
        assert ids(page) == [made[6], made[5], made[4]]
        assert adapter.list_jobs(JobFilter(before_id=made[0]), 3) == []

    def test_by_id(self, adapter: Adapter) -> None:
        made = ids(adapter.enqueue([new_job() for _ in range(5)]))
        assert ids(adapter.list_jobs(JobFilter(ids=(made[1], made[3])), 10)) == [made[3], made[1]]
        assert adapter.count_jobs(JobFilter(ids=(made[1], made[1]))) == 1
        assert adapter.count_jobs(JobFilter(ids=())) == 0

    def test_by_many_ids(self, adapter: Adapter) -> None:
        made = ids(adapter.enqueue([new_job() for _ in range(1_000)]))
        assert adapter.count_jobs(JobFilter(ids=tuple(made))) == 1_000

    @pytest.mark.parametrize("state", JobState)
    def test_by_state(self, adapter: Adapter, state: JobState) -> None:
        jobs = one_of_each_state(adapter)
        (found,) = adapter.list_jobs(JobFilter(states=(state,)), 10)
        assert (found.id, found.state) == (jobs[state].id, state)
        assert adapter.count_jobs(JobFilter(states=(state,))) == 1

    def test_by_several_states(self, adapter: Adapter) -> None:
        jobs = one_of_each_state(adapter)
        wanted = JobFilter(states=(JobState.FAILED, JobState.READY))
        found = [jobs[JobState.FAILED].id, jobs[JobState.READY].id]
        assert ids(adapter.list_jobs(wanted, 10)) == found
        assert adapter.count_by_state() == dict.fromkeys(JobState, 1)
        assert adapter.count_jobs(JobFilter(states=())) == 0

    def test_by_queue_and_handler(self, adapter: Adapter) -> None:
        names = [("A", "x"), ("A", "y"), ("B", "x"), ("B", "z")]
        ax, ay, bx, bz = ids(adapter.enqueue([new_job(h, queue=q) for h, q in names]))
        assert ids(adapter.list_jobs(JobFilter(queues=("x",)), 10)) == [bx, ax]
        assert ids(adapter.list_jobs(JobFilter(queues=("y", "z", "none")), 10)) == [bz, ay]
        assert ids(adapter.list_jobs(JobFilter(handlers=("A",)), 10)) == [ay, ax]
        assert ids(adapter.list_jobs(JobFilter(handlers=("A",), queues=("x",)), 10)) == [ax]
        assert adapter.count_jobs(JobFilter(handlers=("a",))) == 0

    def test_by_time(self, adapter: Adapter, clock: ManualClock) -> None:
        now, later = ids(adapter.enqueue([new_job(), new_job(delay=HOUR)]))
        assert ids(adapter.list_jobs(JobFilter(due=True), 10)) == [now]
        assert ids(adapter.list_jobs(JobFilter(due=False), 10)) == [later]
        clock.advance(HOUR)
        assert ids(adapter.list_jobs(JobFilter(due=True), 10)) == [later, now]
        assert adapter.count_jobs(JobFilter(due=False)) == 0

    def test_every_condition_must_match(self, adapter: Adapter) -> None:
        made = adapter.enqueue([new_job("A", queue="x"), new_job("B", queue="x", delay=HOUR)])
        claim_one(adapter)
        first = JobFilter(
            ids=tuple(ids(made)),
            states=(JobState.RUNNING,),
            queues=("x",),
            handlers=("A", "B"),
            before_id=made[1].id,
            due=True,
        )
        assert ids(adapter.list_jobs(first, 10)) == [made[0].id]
        assert adapter.count_jobs(first) == 1

    def test_a_result_of_any_kind_is_read_back(self, adapter: Adapter) -> None:
        results = ["null", "0", "false", '""', "[]", "{}", '"\u00e9\U0001f600"', "1.5", "[1, 2]"]
        adapter.enqueue([new_job() for _ in results])
        jobs = adapter.claim(a_claim())
        settle_all(
            adapter,
            *[Succeeded(j, keep=True, result=r) for j, r in zip(jobs, results, strict=True)],
        )
        found = [job.result for job in reversed(adapter.list_jobs(JobFilter(), 100))]
        assert found == [None, 0, False, "", [], {}, "\u00e9\U0001f600", 1.5, [1, 2]]

    def test_the_depth_of_each_queue(self, adapter: Adapter, clock: ManualClock) -> None:
        adapter.enqueue([new_job(queue="b"), new_job(queue="b"), new_job(queue="a")])
        adapter.enqueue([new_job(queue="b", delay=timedelta(hours=1))])
        (job,) = adapter.claim(a_claim(limit=1, queues=("b",)))
        clock.advance(90)
        assert adapter.queue_depths() == [
            QueueDepth("a", 1, 0, 0, timedelta(seconds=90), paused=False),
            QueueDepth("b", 1, 1, 1, timedelta(seconds=90), paused=False),
        ]
        assert [running.id for running in adapter.running_jobs(10)] == [job.id]
        settle_all(adapter, Succeeded(job))
        assert [(depth.queue, depth.running) for depth in adapter.queue_depths()] == [
            ("a", 0),
            ("b", 0),
        ]

    # --- pages and limited counts ----------------------------------------------------------------

    @pytest.mark.parametrize("where", FILTERS, ids=str)
    def test_pages_have_all_that_a_list_has(self, adapter: Adapter, where: JobFilter) -> None:
        some_of_each(adapter)
        wanted = ids(adapter.list_jobs(where, 1_000))
        for limit in (1, 4, 1_000):
            pages = pages_of(adapter, where, limit)
            assert [job_id for page in pages for job_id in page] == wanted
            assert max(map(len, pages)) <= limit

    @pytest.mark.parametrize("where", FILTERS, ids=str)
    def test_a_page_of_everything_is_the_last(self, adapter: Adapter, where: JobFilter) -> None:
        some_of_each(adapter)
        page = adapter.page_jobs(where, 1_000)
        assert (len(page.jobs), page.next_before_id) == (adapter.count_jobs(where), None)

    @pytest.mark.parametrize("where", FILTERS, ids=str)
    def test_capped_counts(self, adapter: Adapter, where: JobFilter) -> None:
        some_of_each(adapter)
        number = adapter.count_jobs(where)
        assert adapter.count_up_to(where, 1_000) == Count(number)
        assert adapter.count_up_to(where, 2) == Count(min(number, 2), number > 2)

    def test_a_page_of_large_jobs_is_short(self, adapter: Adapter) -> None:
        large = '{"text": "%s"}' % ("x" * (LARGEST_PAGE_CHARACTERS // 5))
        stored = adapter.enqueue([new_job(args=large) for _ in range(12)])
        first = adapter.page_jobs(JobFilter(), 12)
        assert first.is_full
        assert 1 <= len(first.jobs) < 12
        pages = pages_of(adapter, JobFilter(), 12)
        assert [job_id for page in pages for job_id in page] == ids(stored)[::-1]

    def test_a_job_that_is_larger_than_a_page_is_a_page(self, adapter: Adapter) -> None:
        huge = '{"text": "%s"}' % ("x" * LARGEST_PAGE_CHARACTERS)
        stored = adapter.enqueue([new_job(args=huge), new_job()])
        assert ids(adapter.page_jobs(JobFilter(before_id=stored[1].id), 5).jobs) == [stored[0].id]

    def test_pages_know_where_their_jobs_are_kept(self, adapter: Adapter) -> None:
        enqueue_one(adapter)
        [job] = adapter.page_jobs(JobFilter(), 1).jobs
        assert job.cancel() is JobState.CANCELLED

    def test_depths_that_are_counted_up_to_a_limit(
        self, adapter: Adapter, clock: ManualClock
    ) -> None:
        some_of_each(adapter)
        adapter.pause_queues(["paused"])
        clock.advance(90)
        assert adapter.queue_depths(1_000) == adapter.queue_depths()
        adapter.delete(JobFilter(), include_running=True)
        assert adapter.queue_depths(10) == [
            QueueDepth("paused", 0, 0, 0, timedelta(0), paused=True)
        ]

    # --- what comes before others ----------------------------------------------------------------

    def test_the_due_jobs_of_each_lane(self, adapter: Adapter, clock: ManualClock) -> None:
        assert adapter.lane_depths(10) == adapter.lane_depths(10, "a") == []
        first = clock.now()
        adapter.enqueue([new_job(queue="a", priority=p) for p in (7, 7, 7, -1)])
        adapter.enqueue([new_job(queue="b"), new_job(queue="a", priority=9, delay=HOUR)])
        clock.advance(MINUTE)
        adapter.enqueue([new_job(queue="a", priority=-1, delay=HOUR)])
        of_a = [
            LaneDepth("a", -1, 1, first),
            LaneDepth("a", 7, 2, first, more=True),
            LaneDepth("a", 9, 0, first + HOUR),
        ]
        assert adapter.lane_depths(2, "a") == of_a
        assert adapter.lane_depths(2) == [*of_a, LaneDepth("b", new_job().priority, 1, first)]
        assert adapter.lane_depths(2, "none") == []
        adapter.claim(a_claim(limit=2, queues=("a",)))
        assert [lane.due for lane in adapter.lane_depths(10, "a")] == [0, 2, 0]

    def test_the_due_jobs_before_a_job(self, adapter: Adapter, clock: ManualClock) -> None:
        one, two, three = adapter.enqueue([new_job(), new_job(), new_job()])
        [other] = adapter.enqueue([new_job(queue="other")])
        [urgent] = adapter.enqueue([new_job(priority=-5)])
        [late] = adapter.enqueue([new_job(delay=HOUR)])
        assert [adapter.due_before(job, 10).number for job in (one, two, three)] == [0, 1, 2]
        assert adapter.due_before(other, 10) == adapter.due_before(urgent, 10) == Count(0)
        assert adapter.due_before(late, 10) == Count(3)
        assert adapter.due_before(late, 2) == Count(2, more=True)
        clock.advance(2 * HOUR)
        [last] = adapter.enqueue([new_job()])
        assert adapter.due_before(last, 10) == Count(4)

    # --- the time --------------------------------------------------------------------------------

    def test_the_time_is_the_clocks(self, adapter: Adapter, clock: ManualClock) -> None:
        before = adapter.now()
        assert before == clock.now()
        clock.advance(timedelta(minutes=1))
        assert adapter.now() - before == timedelta(minutes=1)


def asked(adapter: Adapter, where: JobFilter) -> list[int]:
    """The ids of the jobs that match, as lists, pages and counts have them."""
    listed = ids(adapter.list_jobs(where, 1000))
    assert ids(adapter.page_jobs(where, 1000).jobs) == listed
    assert adapter.count_jobs(where) == adapter.count_up_to(where, 1000).number == len(listed)
    return listed[::-1]
