"""Whatever a job raises or returns becomes its outcome, and the job behind it is performed."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jobqueue
from jobqueue import Constant, Discard, Hooks, Job, JobQueue, JobState, MemoryAdapter, Retry
from jobqueue.adapters import Adapter
from jobqueue.defaults import default_configuration
from jobqueue.perform.executor import Executor
from jobqueue.records import JobRecord
from jobqueue.worker.threads import LoopThread

END: dict[str, Callable[[], Any]] = {}
"""What the end of each hostile job is: it is raised if it is an error, and else returned."""
seen: list[str] = []


def end(which: str) -> Any:
    made = END[which]()
    if issubclass(type(made), BaseException):
        raise made
    return made


class Hostile(Job):
    keep_result = True
    retry = Constant(3600)
    redact = ("secret",)

    def perform(self, which: str, secret: str = "hunter2") -> Any:
        return end(which)


class HostileAsync(Job):
    keep_result = True
    retry = Constant(3600)

    async def perform(self, which: str) -> Any:
        await asyncio.sleep(0)
        return end(which)


class HostileHalfAsync(Job):
    """Sync, and returns a coroutine."""

    retry = Constant(3600)

    def perform(self, which: str) -> Any:
        return HostileAsync().perform(which)


class Honest(Job):
    def perform(self) -> None:
        seen.append("honest")


class HonestAsync(Job):
    async def perform(self) -> None:
        seen.append("honest")


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    seen.clear()
    END.clear()
    yield
    default_configuration.reset()


# --- what is raised ------------------------------------------------------------------------------


def raising(error: type[BaseException]) -> Callable[..., Any]:
    def method(*_: Any) -> Any:
        raise error("from within")

    return method


def odd_class(base: type[BaseException], **attributes: Any) -> type[BaseException]:
    """A class of errors with attributes of its own; a function is a property, or a method."""
    namespace = {
        name: property(value)
        if callable(value) and name not in {"__str__", "__repr__", "__eq__", "__bool__"}
        else value
        for name, value in attributes.items()
    }
    if "__eq__" in namespace:
        namespace["__hash__"] = None
    return type("Odd", (base,), namespace)


class Mute(type):
    """A class that does not even say its name."""

    def __getattribute__(cls, name: str) -> Any:
        raise RuntimeError(f"asked for {name}")


class Asked(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"asked for {name}")


class Unkempt:
    """What raises whatever it is asked."""

    def __getattribute__(self, name: str) -> Any:
        raise KeyboardInterrupt


class LaterWithout(Retry):
    def __init__(self) -> None:
        pass


class NeverWithout(Discard):
    def __init__(self) -> None:
        pass


def nested_group(depth: int) -> BaseException:
    error: Exception = ValueError("innermost")
    for _ in range(depth):
        error = ExceptionGroup("outer", [error])
    return error


def cyclic() -> BaseException:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


def long_chain(length: int) -> BaseException:
    error = ValueError("the first")
    for _ in range(length):
        following = ValueError("x" * 1000)
        following.__cause__ = error
        error = following
    return error


def odd_syntax(*args: Any) -> BaseException:
    return SyntaxError(*args)


def lasting(delay: Any) -> BaseException:
    error = LaterWithout()
    error.delay = delay
    return error


ERRORS: dict[str, Callable[[], BaseException]] = {
    "discards with an error": lambda: Discard(ValueError("why")),  # type: ignore[arg-type]
    "discards with a number": lambda: Discard(42),  # type: ignore[arg-type]
    "discards with what has no text": lambda: Discard(Unkempt()),  # type: ignore[arg-type]
    "discards without a reason": NeverWithout,
    "discards with broken text": lambda: Discard("\ud800\x00" * 20_000),
    "a reason that raises": odd_class(NeverWithout, reason=raising(RuntimeError)),
    "retries without a delay": LaterWithout,
    "retries in no time at all": lambda: lasting(timedelta(days=-1)),
    "retries in an age": lambda: lasting(timedelta.max),
    "retries in a word": lambda: lasting("soon"),
    "a delay that raises": odd_class(LaterWithout, delay=raising(SystemExit)),
    "odd syntax": lambda: odd_syntax("m", ("f", 1, "x", "text")),
    "odder syntax": lambda: odd_syntax(4, (5, "l", 1.5, ["x"], "q", "z")),
    "a mute class": lambda: type.__call__(Mute("Odd", (Exception,), {})),
    "says nothing when asked": lambda: Asked.__new__(Asked),
    "lies about its class": odd_class(Exception, __class__=lambda _: Discard),
    "members that raise": lambda: odd_class(ExceptionGroup, exceptions=raising(OSError))(
        "g", [OSError()]
    ),
    "a deep group": lambda: nested_group(10_000),
    "a cycle": cyclic,
    "a long chain": lambda: long_chain(5_000),
    "broken text": lambda: ValueError("\ud800\x00"),
    "a huge text": lambda: ValueError("x" * 10_000_000),
    "sys.exit": lambda: SystemExit(3),
    "an interrupt": KeyboardInterrupt,
    "a generator's end": GeneratorExit,
    "a cancel": asyncio.CancelledError,
    "an iterator's end": lambda: StopIteration(3),
    "out of memory": MemoryError,
    "a group of exits": lambda: BaseExceptionGroup("both", [SystemExit(1), KeyboardInterrupt()]),
    "as low as it gets": lambda: BaseException("low"),
}
for name in ("__str__", "__repr__", "__cause__", "__context__", "__traceback__", "__notes__"):
    ERRORS[f"{name} raises"] = odd_class(ValueError, **{name: raising(RuntimeError)})
    ERRORS[f"{name} exits"] = odd_class(ValueError, **{name: raising(SystemExit)})
    ERRORS[f"{name} is nonsense"] = odd_class(ValueError, **{name: 42})
for name in ("__class__", "__eq__", "__bool__", "__suppress_context__", "args"):
    ERRORS[f"{name} raises"] = odd_class(ValueError, **{name: raising(RuntimeError)})


def cyclic_list() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


RESULTS: dict[str, Callable[[], Any]] = {
    "an object": object,
    "what raises": Unkempt,
    "a cycle": cyclic_list,
    "broken text": lambda: "\ud800",
    "nul": lambda: "\x00",
    "too much": lambda: "x" * 2_000_000,
    "no number": lambda: float("nan"),
    "a generator": lambda: (_ for _ in ()),
    "an error's class": lambda: ValueError,
    "odd keys": lambda: {object(): 1},
    "a lie": type("Lie", (), {"__class__": property(raising(SystemExit))}),
}

ASKED = "__str__ __repr__ __cause__ __context__ __traceback__ __notes__ __class__ __eq__ __bool__"
attributes = st.sampled_from([*ASKED.split(), "__suppress_context__", "args", "reason", "delay"])
behaviours = st.one_of(
    st.sampled_from([RuntimeError, SystemExit, KeyboardInterrupt, RecursionError]).map(raising),
    st.sampled_from([42, None, "\ud800", timedelta.max, [object()], ValueError("x")]),
)
bases = st.sampled_from(
    [ValueError, SyntaxError, KeyError, TimeoutError, Retry, Discard, ExceptionGroup, StopIteration]
) | st.sampled_from(
    [BaseException, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError]
)
arguments = st.sampled_from(["", "\ud800\x00", 42, ("f", 1, "x", "t"), b"x", "why " * 9_000, None])


def make(base: type[BaseException], own: dict[str, Any], args: Sequence[Any]) -> BaseException:
    """An error made without what its class's `__init__` wants, as a subclass may leave it out."""
    kind = odd_class(base, **own)
    if issubclass(base, ExceptionGroup):
        return kind.__new__(kind, "group", [ValueError("member")])
    return kind.__new__(kind, *args)


def within(inner: Callable[[], BaseException], how: str) -> BaseException:
    outer = ValueError("outer")
    if how == "cause":
        outer.__cause__ = inner()
    elif how == "context":
        outer.__context__ = inner()
    elif how == "argument":
        outer.args = (inner(),)
    elif how == "notes":
        outer.__notes__ = [inner()]  # type: ignore[list-item]
    else:
        outer = BaseExceptionGroup("outer", [inner()])  # type: ignore[assignment]
    return outer


# Hypothesis asks what it draws for its class, so it draws what makes the hostile thing.
own = st.dictionaries(attributes, behaviours, max_size=3)
errors = st.builds(partial, st.just(make), bases, own, st.lists(arguments, max_size=2))
ways = st.sampled_from(["cause", "context", "argument", "notes", "group"])
ends = (
    errors
    | st.builds(partial, st.just(within), errors, ways)
    | st.sampled_from([*RESULTS.values()])
)


# --- what becomes of it --------------------------------------------------------------------------

PERFORMERS = (1, 3)
"""The concurrency: one at a time, or on a pool of threads and an event loop."""
KINDS = (Hostile, HostileAsync, HostileHalfAsync)


@pytest.fixture(params=PERFORMERS)
def concurrency(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def has_outcome(job: JobRecord) -> bool:
    """Whether an attempt has ended and was charged, or the job has."""
    is_over = job.state in {JobState.SUCCEEDED, JobState.CANCELLED, JobState.FAILED}
    is_charged = job.state is JobState.READY and job.attempts == 1
    return job.locked_by is None and job.crashes == 0 and (is_over or is_charged)


@pytest.mark.parametrize("job_class", KINDS)
def test_every_error_becomes_an_outcome(
    adapter: Adapter, concurrency: int, job_class: type[Job]
) -> None:
    END.update(ERRORS)
    queue = JobQueue(adapter, concurrency=concurrency)
    ids = {which: queue.enqueue(job_class, which).id for which in ERRORS}
    queue.enqueue(Honest)
    queue.enqueue(HonestAsync)
    queue.work_off()
    assert seen == ["honest"] * 2
    jobs = {which: adapter.get(job_id) for which, job_id in ids.items()}
    left = [which for which, job in jobs.items() if job is None or not has_outcome(job)]
    assert left == []
    assert all(job is not None and job.last_error for job in jobs.values())


@pytest.mark.parametrize("job_class", KINDS[:2])
def test_every_result_becomes_an_outcome(
    adapter: Adapter, concurrency: int, job_class: type[Job]
) -> None:
    END.update(RESULTS)
    queue = JobQueue(adapter, concurrency=concurrency)
    ids = {which: queue.enqueue(job_class, which).id for which in RESULTS}
    queue.enqueue(Honest)
    queue.work_off()
    assert seen == ["honest"]
    jobs = {which: adapter.get(job_id) for which, job_id in ids.items()}
    assert [which for which, job in jobs.items() if job is None or not has_outcome(job)] == []


@given(hostile=ends)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_is_raised_or_returned_becomes_an_outcome(
    concurrency: int, hostile: Callable[[], object]
) -> None:
    seen.clear()
    END["it"] = hostile
    adapter = MemoryAdapter()
    Job.config(adapter=adapter)
    queue = JobQueue(adapter, concurrency=concurrency)
    ids = [queue.enqueue(job_class, "it").id for job_class in KINDS]
    queue.enqueue(Honest)
    queue.enqueue(HonestAsync)
    queue.work_off()
    assert seen == ["honest"] * 2
    for job_id in ids:
        job = adapter.get(job_id)
        # What has kept no result is removed.
        assert job is None or has_outcome(job)


def test_in_an_application_async_jobs_end_neither_its_loop_nor_its_worker() -> None:
    END.update(ERRORS | RESULTS)

    async def application() -> list[int]:
        queue = JobQueue(MemoryAdapter(), concurrency=2)
        async with queue.running():
            ids = [queue.enqueue(kind, which).id for which in END for kind in KINDS]
            queue.enqueue(HonestAsync)
            while seen != ["honest"]:  # noqa: ASYNC110 - a job of another loop says so
                await asyncio.sleep(0.01)
        jobs = [queue.adapter.get(job_id) for job_id in ids]
        return [job.id for job in jobs if job is not None and not has_outcome(job)]

    assert asyncio.run(application()) == []


def test_an_error_that_cannot_be_written_shows_where_it_was_raised(adapter: Adapter) -> None:
    END["it"] = odd_class(ValueError, __cause__=raising(RuntimeError))
    job_id = JobQueue(adapter).enqueue(Hostile, "it").id
    JobQueue(adapter).work_off()
    text = (jobqueue.get(job_id).last_error or "").splitlines()
    assert text[0] == "Traceback (most recent call last):"
    assert any(line.endswith("in end") for line in text)
    assert text[-1].endswith("RuntimeError: from within)")


def test_what_cannot_be_masked_is_not_shown(adapter: Adapter) -> None:
    class Remembers(Job):
        redact = ("secrets",)

        def perform(self, secrets: list[Any]) -> None:
            secrets.append(secrets)
            raise ValueError(f"tried {secrets[0]}")

    job_id = JobQueue(adapter).enqueue(Remembers, ["hunter2"]).id
    JobQueue(adapter).work_off()
    error = jobqueue.get(job_id).last_error or ""
    assert "ValueError" in error
    assert "hunter2" not in error


# --- what goes wrong around `perform` ------------------------------------------------------------


def explode(*_: object) -> Any:
    raise SystemExit("exploded")


class Unexplained(Job):
    """Its result's type is asked for when its first job is performed."""

    keep_result = True

    def perform(self) -> explode():  # type: ignore[valid-type]
        """Do nothing."""


class Checked:
    @classmethod
    def __get_pydantic_core_schema__(cls, *_: object) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            explode, serialization=core_schema.to_string_ser_schema()
        )


class Picky(Job):
    def perform(self, value: Checked) -> None:
        """Do nothing."""


class OddPolicy(Job):
    retry = staticmethod(explode)

    def perform(self) -> None:
        raise ValueError("the job's own")


class OddLimit(Job):
    max_runtime = 10
    retry = staticmethod(explode)

    def perform(self) -> None:
        raise ValueError("the job's own")


class OddHooks(Job):
    def perform(self) -> None:
        seen.append("performed")

    def after_success(self) -> None:
        explode()


class OddLogger(Job):
    logger = logging.LoggerAdapter(logging.getLogger("x"))  # type: ignore[assignment]

    def perform(self) -> None:
        seen.append("performed")


def perform_beside_an_honest_one(adapter: Adapter, concurrency: int, job: Any, *args: Any) -> int:
    queue = JobQueue(adapter, concurrency=concurrency)
    job_id = queue.enqueue(job, *args).id
    queue.enqueue(Honest)
    queue.work_off()
    assert "honest" in seen
    return int(job_id)


@pytest.mark.parametrize("job_class", [Unexplained, OddPolicy, OddLimit])
def test_what_fails_around_a_job_is_charged_to_it(
    adapter: Adapter, concurrency: int, job_class: type[Job]
) -> None:
    job = jobqueue.get(perform_beside_an_honest_one(adapter, concurrency, job_class))
    assert has_outcome(job)
    assert job.attempts == 1
    assert "SystemExit: exploded" in (job.last_error or "")


def test_a_policy_that_fails_hides_no_error(adapter: Adapter, concurrency: int) -> None:
    job = jobqueue.get(perform_beside_an_honest_one(adapter, concurrency, OddPolicy))
    error = job.last_error or ""
    assert error.index("ValueError: the job's own") < error.index("SystemExit: exploded")


def test_a_validator_that_exits_fails_the_job(adapter: Adapter, concurrency: int) -> None:
    queue = JobQueue(adapter, concurrency=concurrency)
    job_id = jobqueue.enqueue(Picky.name, {"value": "x"}, unchecked=True).id
    queue.enqueue(Honest)
    queue.work_off()
    assert seen == ["honest"]
    assert jobqueue.get(job_id).state is JobState.FAILED


@pytest.mark.parametrize("job_class", [OddHooks, OddLogger])
def test_what_watches_a_job_does_not_fail_it(
    adapter: Adapter, concurrency: int, job_class: type[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OddLogger.logger, "isEnabledFor", explode_as_an_error)
    job_id = perform_beside_an_honest_one(adapter, concurrency, job_class)
    assert sorted(seen) == ["honest", "performed"]
    assert adapter.get(job_id) is None


def explode_as_an_error(*_: object) -> Any:
    raise RuntimeError("this logger is broken")


class Exits(Hooks):
    def job_succeeded(self, job: Any, run_time: timedelta) -> None:
        explode()


def test_a_hook_that_exits_does_not_end_the_worker(memory_with_hooks: Adapter) -> None:
    perform_beside_an_honest_one(memory_with_hooks, 1, Honest)
    assert seen == ["honest"] * 2


@pytest.fixture
def memory_with_hooks() -> Adapter:
    adapter = MemoryAdapter()
    Job.config(adapter=adapter)
    jobqueue.configure(hooks=[Exits()])
    return adapter


class CancelsItself(Job):
    async def perform(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()


def test_a_job_that_cancels_its_own_task_is_charged(adapter: Adapter, concurrency: int) -> None:
    job = jobqueue.get(perform_beside_an_honest_one(adapter, concurrency, CancelsItself))
    assert has_outcome(job)
    assert job.attempts == 1


def break_the_loop() -> None:
    """Make the files of the running loop unusable, as a job does that closes all files."""
    loop: Any = asyncio.get_running_loop()
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, loop._selector.fileno())
    os.close(nowhere)


class BreaksItsLoop(Job):
    async def perform(self) -> None:
        break_the_loop()
        await asyncio.sleep(0.01)


class BreaksItsLoopInSync(Job):
    def perform(self) -> Any:
        return BreaksItsLoop().perform()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("job_class", [BreaksItsLoop, BreaksItsLoopInSync])
def test_a_loop_that_a_job_has_broken_is_replaced(concurrency: int, job_class: type[Job]) -> None:
    adapter = MemoryAdapter()
    Job.config(adapter=adapter)
    job = jobqueue.get(perform_beside_an_honest_one(adapter, concurrency, job_class))
    assert has_outcome(job)
    assert job.attempts == 1
    queue = JobQueue(adapter, concurrency=concurrency)
    queue.enqueue(HonestAsync)
    queue.work_off()
    assert seen == ["honest"] * 2
    gc.collect()  # the broken loop is not closed, of which this test is told, and no other


class SlowSet(set[Any]):
    """A set to which something is added only some time later, as by a thread that is held up."""

    has_failed = threading.Event()

    def add(self, element: Any) -> None:
        self.has_failed.wait(0.5)
        super().add(element)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_breaks_at_once_keeps_nobody_waiting() -> None:
    """The thread that waits for the task is held up until the loop has failed."""
    errors: list[BaseException] = []
    # On a thread of its own, since asyncio remembers the last loop of each thread.
    breaking = threading.Thread(target=break_a_loop_at_once, args=(errors,))
    breaking.start()
    breaking.join()
    assert len(errors) == 1
    del breaking
    gc.collect()  # as above


def break_a_loop_at_once(errors: list[BaseException]) -> None:
    loop = LoopThread(lambda error: SlowSet.has_failed.set())
    loop._awaited = SlowSet()
    loop.start()

    async def breaks() -> None:
        break_the_loop()

    def wait_for_it() -> None:
        try:
            loop.run(breaks())
        except OSError as error:
            errors.append(error.with_traceback(None))

    waiting = threading.Thread(target=wait_for_it, daemon=True)
    waiting.start()
    waiting.join(20)
    loop.close(wait=True)


class LeavesOddFactory(Job):
    async def perform(self) -> None:
        asyncio.get_running_loop().set_task_factory(explode)


def test_a_task_factory_of_a_job_is_not_that_of_the_next(concurrency: int) -> None:
    queue = JobQueue(MemoryAdapter(), concurrency=concurrency)
    queue.enqueue(LeavesOddFactory)
    ids = [queue.enqueue(HonestAsync).id for _ in range(3)]
    queue.work_off()
    assert seen == ["honest"] * 3
    assert all(queue.adapter.get(job_id) is None for job_id in ids)


class ExitsInThread(Job):
    def perform(self) -> None:
        thread = threading.Thread(target=sys.exit)
        thread.start()
        thread.join()
        seen.append("performed")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_sys_exit_in_a_thread_of_a_job_ends_that_thread(adapter: Adapter) -> None:
    perform_beside_an_honest_one(adapter, 1, ExitsInThread)
    assert seen == ["performed", "honest"]


def test_a_text_of_any_length_is_never_held_whole() -> None:
    import tracemalloc

    from jobqueue.redaction import MAX_ERROR_CHARACTERS, clean_error_of

    piece = "x" * 1_000_000
    tracemalloc.start()
    text = clean_error_of(["the beginning ", *[piece] * 1_000, " the end"])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert text.startswith("the beginning xxx")
    assert text.endswith("xxx the end")
    assert "… 999,980,022 characters left out …" in text
    assert len(text) < MAX_ERROR_CHARACTERS + 100
    assert most < 1_000_000


def test_the_executor_charges_what_it_cannot_explain() -> None:
    """The last resort: whatever fails, and in whichever way, there is an outcome."""
    from jobqueue.config import Settings
    from jobqueue.job import registry
    from tests.sample_jobs import claimed

    executor = Executor(registry, Settings())
    for error in (Asked.__new__(Asked), MemoryError(), SystemExit()):
        for handler in ("no.such.Job", OddPolicy.name, Hostile.name):
            outcome = executor.charge(claimed(handler, "[not json"), error)
            assert "could not be performed" in getattr(outcome, "error", "")
