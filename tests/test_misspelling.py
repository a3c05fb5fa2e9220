"""Names that are close to an option, and names that there are not: refused, with what was meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jobqueue
from jobqueue import Constant, InvalidArguments, InvalidJob, Job, JobQueue, MemoryAdapter, job
from jobqueue.config import load_settings, load_worker_groups
from jobqueue.defaults import default_configuration
from jobqueue.errors import ConfigurationError

OPTIONS = (
    "name, aliases, queue, priority, max_attempts, max_runtime, retry, keep_succeeded, "
    "keep_failed, keep_result, interrupt_on_cancel, schedule, limits, unique, expires_in, "
    "ordered, fair, debounce, redact, api, adapter, logger"
)


def a_class(bases: tuple[type, ...] = (Job,), **attributes: Any) -> Any:
    def perform(self: Job, password: str = "") -> None: ...

    namespace = {"__module__": __name__, "__qualname__": "Made", "perform": perform}
    return type("Made", bases, namespace | attributes)


@pytest.mark.parametrize(
    ("attribute", "value", "meant"),
    [
        ("redcat", ("password",), "redact"),
        ("redacts", ("password",), "redact"),
        ("queu", "email", "queue"),
        ("Queue", "email", "queue"),
        ("nmae", "a-name", "name"),
        ("prioritiy", 3, "priority"),
        ("max_attempt", 3, "max_attempts"),
        ("attempts", 3, "max_attempts"),
        ("maxAttempts", 3, "max_attempts"),
        ("max_run_time", 3, "max_runtime"),
        ("retyr", Constant(3), "retry"),
        ("keep_succeded", True, "keep_succeeded"),
        ("interupt_on_cancel", True, "interrupt_on_cancel"),
        ("schedules_", None, "schedule"),
        ("aip", True, "api"),
        # What other queues call them.
        ("max_retries", 3, "max_attempts"),
        ("retries", 3, "max_attempts"),
        ("queue_name", "email", "queue"),
        ("time_limit", 3, "max_runtime"),
    ],
)
def test_a_misspelt_class_attribute_is_refused(attribute: str, value: object, meant: str) -> None:
    with pytest.raises(InvalidJob) as raised:
        a_class((Job,), **{attribute: value})
    said = str(raised.value)
    assert said.startswith(f"{__name__}.Made: {attribute!r} is no option of a job")
    assert f"did you mean {meant!r}?" in said
    assert "an underscore" in said


def test_one_that_is_inherited_is_refused() -> None:
    class Base(Job):
        redcat = ("password",)

    class Mixin:
        queu = "email"

    with pytest.raises(InvalidJob, match="did you mean 'redact'"):
        a_class((Base,))
    with pytest.raises(InvalidJob, match="did you mean 'queue'"):
        a_class((Mixin, Job))


def test_what_is_something_else_is_not_refused() -> None:
    made = a_class(
        _redcat=1,
        QUEUE="email",
        template="welcome.html",
        timeout=3,
        api_key="…",
        batch_size=3,
        game="chess",
        mean=0.5,
        names=lambda self: ["a method is no option"],
        adapters=property(lambda self: []),
        Logger=type("Logger", (), {}),
    )
    assert made.template == "welcome.html"


def test_a_misspelt_option_of_a_function_is_refused() -> None:
    wrong: dict[str, Any] = {"redcat": ("password",)}
    with pytest.raises(InvalidJob) as raised:

        @job(**wrong)
        def send(password: str) -> None: ...

    said = str(raised.value)
    assert "send: @job takes no 'redcat'; did you mean 'redact'?" in said
    assert said.endswith(f"it takes {OPTIONS}")


def test_an_unknown_option_of_a_function_is_refused_close_or_not() -> None:
    unknown: dict[str, Any] = {"colour": None}
    with pytest.raises(InvalidJob, match="@job takes no 'colour'; it takes name, aliases, queue"):

        @job(**unknown)
        def paint() -> None: ...


class Unadorned(Job):
    def perform(self) -> None: ...


@job
def a_function() -> None: ...


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (
            lambda wrong: Unadorned.set(**wrong(wiat=5)),
            InvalidArguments,
            r"^\.set\(\) takes no 'wiat'; did you mean 'wait'\? it takes wait, wait_until",
        ),
        (
            lambda wrong: Unadorned().set(wait=1).set(**wrong(colour=None)),
            InvalidArguments,
            "takes no .colour.; it takes wait, wait_until, queue, priority, session, meta, batch",
        ),
        (
            lambda wrong: a_function.set(**wrong(prioritiy=None)),
            InvalidArguments,
            "did you mean 'priority'",
        ),
        (
            lambda wrong: jobqueue.configure(**wrong(adaptor=MemoryAdapter())),
            ConfigurationError,
            "^'adaptor' is no setting that configure.* takes; did you mean 'adapter'.",
        ),
        (
            lambda wrong: jobqueue.configure(**wrong(adaptor=None)),
            ConfigurationError,
            "did you mean 'adapter'",
        ),
        (
            lambda wrong: Job.config(**wrong(loger=None)),
            ConfigurationError,
            r"^Job\.config\(\) takes no 'loger'; did you mean 'logger'\? it takes adapter, logger$",
        ),
        (
            lambda wrong: JobQueue(**wrong(concurency=3)),
            ConfigurationError,
            "^'concurency' is no setting that JobQueue.* takes; did you mean 'concurrency'.",
        ),
        (
            lambda wrong: load_settings(wrong(pol_interval=3)),
            ConfigurationError,
            "'pol_interval' is no setting; did you mean 'poll_interval'",
        ),
    ],
)
def test_unknown_keywords_say_what_was_meant(
    call: Callable[[Callable[..., Any]], object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        call(dict)
    default_configuration.reset()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("queus = ['email']", "has 'queus', which is no setting; did you mean 'queues'"),
        ("[workers.a]\nconcurency = 3", "has 'concurency'; did you mean 'concurrency'"),
    ],
)
def test_a_misspelt_setting_in_a_file(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "jobqueue.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        _ = load_settings(directory=tmp_path), load_worker_groups(tmp_path)
