"""Defining a job: names, the registry, and what is refused with which words."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobqueue import (
    Constant,
    DuplicateJob,
    InvalidArguments,
    InvalidJob,
    Job,
    UnknownJob,
    job,
)
from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.defaults import default_configuration
from jobqueue.job import registry
from tests.conftest import Project


class Plain(Job):
    def perform(self) -> None: ...


class Named(Job):
    name = "a-name"
    aliases = ("an-old-name",)

    def perform(self) -> None: ...


class Base(Job):
    queue = "base"


class Derived(Base):
    def perform(self) -> None: ...


class OfNamed(Named):
    def perform(self) -> None: ...


@job
def plain_function(n: int) -> int:
    """Doubles a number."""
    return 2 * n


@job(queue="email", priority=3, name="function-name", max_attempts=7)
async def named_function(n: int) -> int:
    return 3 * n


def test_a_job_is_named_after_its_module_and_class() -> None:
    assert Plain.name == "tests.test_defining.Plain"
    assert registry.find("tests.test_defining.Plain") is Plain


def test_a_name_and_aliases_of_its_own() -> None:
    assert registry.find("a-name") is registry.find("an-old-name") is Named
    assert registry.classes().count(Named) == 1
    assert [job_class.name for job_class in registry.classes()] == registry.names()
    assert registry.find("tests.test_defining.Named") is None


def test_names_and_aliases_are_not_inherited_but_attributes_are() -> None:
    assert OfNamed.name == "tests.test_defining.OfNamed"
    assert not OfNamed.aliases
    assert Derived.queue == "base"


def test_a_base_without_perform_is_no_job() -> None:
    assert registry.find("tests.test_defining.Base") is None


def test_a_function_becomes_a_job_and_stays_callable() -> None:
    assert plain_function(4) == plain_function.perform_now(4) == 8
    assert named_function.perform_now(4) == 12
    assert registry.find("tests.test_defining.plain_function") is type(plain_function)
    assert type(plain_function).__doc__ == "Doubles a number."
    found = registry.find("function-name")
    assert found is not None
    assert (found.queue, found.priority, found.max_attempts) == ("email", 3, 7)


def test_a_person_may_use_the_end_of_a_name() -> None:
    assert registry.resolve("Plain") is Plain
    assert registry.resolve("test_defining.Plain") is Plain
    with pytest.raises(
        UnknownJob, match=r"no job is named 'Plan' \(did you mean 'tests.test_defining.Plain'"
    ):
        registry.resolve("Plan")


def test_an_ambiguous_end_of_a_name_is_refused() -> None:
    class Twice(Job):
        name = "one.Ambiguous"

        def perform(self) -> None: ...

    class Again(Job):
        name = "two.Ambiguous"

        def perform(self) -> None: ...

    with pytest.raises(UnknownJob, match=r"any of one\.Ambiguous, two\.Ambiguous"):
        registry.resolve("Ambiguous")


def test_a_clash_shows_both_places() -> None:
    with pytest.raises(DuplicateJob) as caught:

        class Other(Job):
            name = "a-name"

            def perform(self) -> None: ...

    message = str(caught.value)
    assert "'a-name'" in message
    assert f"tests.test_defining.Named ({__file__}:" in message
    assert f"Other ({__file__}:" in message
    assert registry.find("a-name") is Named


def test_an_alias_clashes_as_well() -> None:
    with pytest.raises(DuplicateJob, match="an-old-name"):

        class Other(Job):
            name = "new-name"
            aliases = ("an-old-name",)

            def perform(self) -> None: ...

    assert registry.find("new-name") is None


def test_the_same_name_twice_in_a_file_is_a_clash(empty_project: Project) -> None:
    empty_project.write(
        "twice.py",
        """
        from jobqueue import Job

        class Send(Job):
            def perform(self) -> None: ...

        class Send(Job):
            def perform(self, more: int) -> None: ...
        """,
    )
    run = empty_project.python("-c", "import twice")
    assert run.exit_code == 1
    assert "twice.py:4" in run.err
    assert "twice.py:7" in run.err


def test_reloading_a_module_is_no_clash(empty_project: Project) -> None:
    empty_project.write(
        "mine.py",
        """
        from jobqueue import Job

        class Send(Job):
            def perform(self) -> None: ...
        """,
    )
    run = empty_project.python(
        "-c",
        "import mine, importlib; importlib.reload(mine); "
        "from jobqueue.job import registry; assert registry.find('mine.Send') is mine.Send",
    )
    assert run.exit_code == 0, run.err


@pytest.mark.parametrize("adapter_url", ["memory://", "sqlite:///nowhere.sqlite3"])
def test_a_class_in_main_is_refused_with_the_reason(
    empty_project: Project, adapter_url: str
) -> None:
    empty_project.write(
        "script.py",
        """
        from jobqueue import Job, job

        class Send(Job):
            def perform(self) -> None: ...

        @job
        def send() -> None: ...

        for one in (Send, send):
            try:
                one.perform_later()
            except TypeError as error:
                print(type(error).__name__, error)
            one.perform_now()
        """,
    )
    run = empty_project.python("script.py", env={"JOBS_DATABASE_URL": adapter_url})
    assert run.exit_code == 0, run.err
    lines = run.out.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("InvalidJob ")
        assert "is defined in __main__" in line
        assert "a worker cannot import" in line


def one_by_one(self: Any, user: str) -> Iterator[str]:
    yield user


async def one_by_one_async(self: Any, user: str) -> AsyncIterator[str]:
    yield user


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"queue": "no spaces please"}, "queue = 'no spaces please'; expected 1 to 128 letters"),
        ({"queue": ""}, "queue = ''"),
        ({"queue": "x" * 129}, "queue = "),
        ({"priority": "high"}, "priority = 'high'; expected a whole number"),
        ({"priority": 2**31}, "priority = 2147483648"),
        ({"max_attempts": 0}, "max_attempts = 0; expected a whole number from 1"),
        (
            {"max_attempts": 2**31},
            "max_attempts = 2147483648; expected a whole number from 1, of 32",
        ),
        ({"max_attempts": "3"}, "max_attempts = '3'; expected a whole number"),
        ({"retry": 5}, "retry = 5; expected a policy"),
        ({"retry": Constant(1, attempts=0)}, "attempts of its retry policy is 0; expected a whole"),
        ({"name": ""}, "'' is no name for a job"),
        ({"name": "x" * 256}, "is no name for a job"),
        ({"aliases": "old"}, "aliases is a string; expected a tuple"),
        ({"redact": ("password",)}, "redact names 'password', which is no parameter"),
        ({"api": "no"}, "api = 'no'; expected True or False"),
        ({"retry": Constant}, "retry is the class Constant; give an object of it"),
        ({"retry": lambda self, attempt, error: 5}, "retry cannot be called with the number"),
        ({"retry": lambda attempt: 5}, "retry cannot be called with the number"),
        ({"perform": one_by_one}, "perform has a `yield`"),
        ({"perform": one_by_one_async}, "perform has a `yield`"),
        ({"__init__": lambda self, user: None}, "__init__ wants them"),
        ({"after_succes": lambda self: None}, "did you mean 'after_success'"),
        ({"before_preform": lambda self: None}, "did you mean 'before_perform'"),
    ],
)
def test_attributes_that_cannot_be_used_are_refused_at_definition(
    attributes: dict[str, Any], said: str
) -> None:
    def perform(self: Any, user: str) -> None: ...

    with pytest.raises(InvalidJob, match=said):
        type("Wrong", (Job,), {"perform": perform, "__module__": __name__} | attributes)


def test_a_perform_without_self_is_refused_with_what_to_write() -> None:
    def forgot(user_id: int) -> None: ...
    def nothing() -> None: ...
    async def forgot_async(user_id: int = 1, *rest: str) -> None: ...
    def by_name(*, user_id: int) -> None: ...

    def refused(perform: Any) -> str:
        with pytest.raises(InvalidJob) as refusal:
            type("Wrong", (Job,), {"perform": perform, "__module__": __name__})
        return str(refusal.value).removeprefix(f"{__name__}.Wrong: ")

    assert refused(forgot) == (
        "perform(user_id: int) has no `self`; write def perform(self, user_id: int)"
    )
    assert refused(nothing) == "perform() has no `self`; write def perform(self)"
    assert refused(forgot_async).endswith(
        "write async def perform(self, user_id: int = 1, *rest: str)"
    )
    assert "has no `self`" in refused(by_name)
    assert "perform is a staticmethod; leave the decorator out" in refused(staticmethod(forgot))
    assert "perform is a classmethod" in refused(classmethod(lambda cls: None))


@pytest.mark.usefixtures("forget_jobs")
def test_self_may_have_another_name() -> None:
    def wrapped(*args: Any, **kwargs: Any) -> None: ...
    def this(this: Any, user_id: int) -> None: ...
    def unused(_: Any) -> None: ...

    for perform in (wrapped, this, unused):
        type(f"Right{perform.__name__}", (Job,), {"perform": perform, "__module__": __name__})


def test_positional_only_parameters_are_refused_at_definition() -> None:
    with pytest.raises(InvalidJob, match="positional-only"):

        class Wrong(Job):
            def perform(self, a: int, /) -> None: ...


def test_perform_now_returns_and_raises_what_perform_does() -> None:
    class Divide(Job):
        def perform(self, a: int, b: int) -> float:
            assert self.context.job_id is None
            assert self.context.attempt == 1
            return a / b

    assert Divide.perform_now(6, b=3) == Divide().perform_now(6, 3) == 2
    with pytest.raises(ZeroDivisionError):
        Divide.perform_now(1, 0)
    with pytest.raises(InvalidArguments):
        Divide.perform_now("6", 3)  # type: ignore[arg-type]


async def _await_job() -> Any:
    return await named_function.perform_now(2)


def test_perform_now_of_an_async_job_can_be_awaited_in_a_loop() -> None:
    import asyncio

    assert asyncio.run(_await_job()) == 6


def test_a_class_can_have_an_adapter_and_a_logger_of_its_own() -> None:
    import logging

    own, default = MemoryAdapter(), MemoryAdapter()

    class Apart(Job):
        adapter = own
        logger = logging.getLogger("apart")

        def perform(self) -> None: ...

    Job.config(adapter=default, logger=logging.getLogger("shared"))
    try:
        Apart.perform_later()
        Plain.perform_later()
        assert own.count_by_state() == default.count_by_state() == {"ready": 1}
        assert Apart.logger.name == "apart"
        assert Plain.logger.name == "shared"
    finally:
        default_configuration.reset()


CHECKED = """
    from collections.abc import Sequence

    from jobqueue import Job, JobRecord, job


    class Send(Job):
        queue = "email"

        def perform(self, user_id: int, greeting: str = "hello") -> str:
            return greeting


    class SendAsync(Job):
        async def perform(self, user_id: int) -> str:
            return "sent"


    @job(queue="email")
    def send(user_id: int, greeting: str = "hello") -> bool:
        return True


    record: JobRecord = Send.perform_later(1)
    record = Send().perform_later(1, greeting="hi")
    record = Send.set(wait=5).perform_later(1, "hi")
    record = Send().set(queue="slow").perform_later(user_id=1)
    record = SendAsync.set(priority=1).perform_later(1)
    record = send.set(wait=1).perform_later(1)
    text: str = Send.perform_now(1)
    yes: bool = send(1)
    yes = send.perform_now(1)
    records: Sequence[JobRecord] = Send.perform_all_later([(1,), {"user_id": 2}])
"""

WRONG = """
    Send.perform_later("1")
    Send.perform_later()
    Send.perform_later(1, "hi", 3)
    Send().perform_later("1")
    Send().perform_later(1, salute="hi")
    Send.set(wait=5).perform_later("1")
    Send().set(wait=5).perform_later()
    Send.set(later=5).perform_later(1)
    SendAsync.perform_later("1")
    SendAsync.set(wait=5).perform_later(1, 2)
    send.perform_later("1")
    send.set(wait=5).perform_later()
    number: int = Send.perform_now(1)
"""

CHECKERS: dict[str, Callable[[Path], list[str]]] = {
    "mypy": lambda path: ["-m", "mypy", "--strict", "--cache-dir", str(path.parent), path.name],
    "pyright": lambda path: [
        "-m",
        "pyright",
        "--pythonpath",
        __import__("sys").executable,
        path.name,
    ],
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("checker", CHECKERS)
def test_type_checkers_see_the_parameters_of_perform(empty_project: Project, checker: str) -> None:
    good = textwrap.dedent(CHECKED)
    path = empty_project.write("checked.py", good + textwrap.dedent(WRONG))
    run = empty_project.python(*CHECKERS[checker](path))
    wrong_lines = range(good.count("\n") + 1, good.count("\n") + WRONG.count("\n"))
    reported = {
        int(line.split(":")[1]) for line in run.out.splitlines() if "error" in line and ":" in line
    }
    assert reported == set(wrong_lines), run.out + run.err
