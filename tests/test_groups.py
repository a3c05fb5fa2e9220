"""`-n`: what it understands, and what it says to the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobqueue import ConfigurationError
from jobqueue.config import load_settings
from jobqueue.runner.groups import WorkerGroup, groups_of, most_attempts, parse_groups


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("4", (WorkerGroup("worker", None, 4),)),
        (
            "default:2,email:1",
            (WorkerGroup("default", ("default",), 2), WorkerGroup("email", ("email",), 1)),
        ),
        ("default+email:2", (WorkerGroup("default+email", ("default", "email"), 2),)),
        ("*:1", (WorkerGroup("all", None, 1),)),
        (" a : 1 , b:2 ", (WorkerGroup("a", ("a",), 1), WorkerGroup("b", ("b",), 2))),
        ("a:b:3", (WorkerGroup("a:b", ("a:b",), 3),)),
    ],
)
def test_what_it_understands(text: str, groups: tuple[WorkerGroup, ...]) -> None:
    assert parse_groups(text) == groups


def test_a_bare_number_takes_the_queues_of_the_settings() -> None:
    assert parse_groups("2", ("x", "y")) == (WorkerGroup("worker", ("x", "y"), 2),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "without a number"),
        ("email", "'email' without a number"),
        ("0", "the number '0'; expected 1 to 1000"),
        ("-1", "without a number"),
        ("email:0", "the number '0'"),
        ("email:many", "the number 'many'"),
        ("email:1001", "the number '1001'"),
        ("e mail:1", "the queue 'e mail'"),
        (":1", "the queue ''"),
        ("a:1,", "without a number"),
        ("a:1,a:2", "has 'a' twice"),
        ("*+a:1", "the queue '*'"),
    ],
)
def test_what_it_refuses_and_with_which_words(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_groups(text)
    assert said in str(caught.value)
    assert text in str(caught.value)


CONFIGURED = """
concurrency = 3

[workers.mail]
queues = ["email", "sms"]
count = 2
concurrency = 10
max_runtime = 60

[workers.rest]
poll_interval = 5
"""


def test_groups_of_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobqueue.toml").write_text(CONFIGURED)
    mail, rest = groups_of("", load_settings())
    assert (mail.name, mail.queues, mail.count, mail.concurrency) == (
        "mail",
        ("email", "sms"),
        2,
        10,
    )
    assert mail.options["max_runtime"] == 60
    assert (rest.name, rest.queues, rest.count, rest.concurrency) == ("rest", None, 1, None)
    assert groups_of("x:1", load_settings()) == (WorkerGroup("x", ("x",), 1),)


def test_an_option_comes_before_a_groups_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobqueue.toml").write_text(CONFIGURED)
    given = {"queues": "default", "concurrency": "4", "max_runtime": None}
    mail, rest = groups_of("", load_settings(given), given)
    assert (mail.queues, mail.concurrency) == (("default",), None)
    assert mail.options == {"max_runtime": 60}
    assert (rest.queues, rest.options) == (("default",), {"poll_interval": 5})


def test_queues_are_named_in_one_place() -> None:
    given = {"queues": "email"}
    settings = load_settings(given)
    with pytest.raises(ConfigurationError, match="so does --queues"):
        groups_of("default:2", settings, given)
    assert groups_of("2", settings, given) == (WorkerGroup("worker", ("email",), 2),)


def test_only_an_option_limits_what_was_enqueued_before() -> None:
    settings = load_settings({"max_attempts": "3"})
    assert most_attempts(settings, {"max_attempts": "3"}) == 3
    assert most_attempts(settings, {"max_attempts": None}) is None


def test_without_any_there_is_one_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert groups_of("", load_settings()) == (WorkerGroup("worker", None, 1),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[workers.mail]\ncount = 0", "count of workers.mail in jobqueue.toml is 0"),
        ("[workers.mail]\nqueue = 'x'", "has 'queue'; did you mean 'queues'?"),
        ("[workers.mail]\nqueues = 'a b'", "queues of workers.mail in jobqueue.toml is 'a b'"),
        ("workers = 5", "is no table of groups"),
        ('[[workers]]\nqueues = ["email"]', "is no table of groups"),
        ("[workers]\nmail = 2", "is no table of a group"),
    ],
)
def test_a_wrong_group_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobqueue.toml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        groups_of("", load_settings())
    assert said in str(caught.value)
