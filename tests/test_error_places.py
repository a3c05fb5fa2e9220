"""The group of what a job raises: its type, the place in the application's own code, its text."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jobqueue import Job
from jobqueue.perform.error_groups import group_of_error, place_of
from jobqueue.records import ErrorGroup
from jobqueue.redaction import MASK

HERE = "tests/test_error_places.py"


def raised(function: Callable[..., Any], *args: Any) -> BaseException:
    try:
        function(*args)
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError("it raised nothing")


def group(error: BaseException, **secrets: Any) -> ErrorGroup:
    return group_of_error("Work", Work, error, secrets)


class Work(Job):
    name = "error_places.Work"

    def perform(self) -> None:
        outer()


def outer() -> None:
    inner()


def inner() -> None:
    json.loads("{")


def test_the_place_is_the_innermost_frame_of_the_own_code() -> None:
    assert place_of(raised(outer)) == f"{HERE}:inner"
    assert place_of(raised(Work().perform)) == f"{HERE}:inner"
    assert place_of(raised(lambda: json.loads("["))) == (
        f"{HERE}:test_the_place_is_the_innermost_frame_of_the_own_code.<locals>.<lambda>"
    )


def test_an_error_without_own_code_has_no_place() -> None:
    assert place_of(ValueError()) is None
    assert group(ValueError("x")).place is None


def module_in(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A package `shop` that is in a folder, of which a module fails."""
    package = folder / "shop"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "mail.py").write_text("def send():\n    raise ValueError('no')\n")
    (package / "jobs.py").write_text(
        textwrap.dedent(f"""
        from jobqueue import Job
        from shop.mail import send

        class Send(Job):
            name = {name!r}

            def perform(self):
                send()
        """)
    )
    for known in [known for known in sys.modules if known.partition(".")[0] == "shop"]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.syspath_prepend(str(folder))
    import shop.jobs  # type: ignore[import-not-found]

    made: ModuleType = shop.jobs
    return made


@pytest.mark.parametrize("folder", ["srv/releases/17", "venv/lib/python3.13/site-packages"])
def test_the_path_is_the_same_on_every_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    shop = module_in(tmp_path / folder, f"shop.Send in {folder}", monkeypatch)
    error = raised(shop.Send().perform)
    assert group_of_error("shop.Send", shop.Send, error, {}).place == "shop/mail.py:send"
    for known in ("shop", "shop.mail", "shop.jobs"):
        monkeypatch.delitem(sys.modules, known)


def test_a_group_of_exceptions_has_the_types_of_its_members() -> None:
    members = [ValueError(1), ValueError(2), KeyError(3)]
    assert group(ExceptionGroup("two", members)).kind == "ExceptionGroup[KeyError, ValueError]"
    many = [type(f"E{number}", (Exception,), {"__module__": "builtins"})() for number in range(9)]
    assert group(ExceptionGroup("many", many)).kind == "ExceptionGroup[E0, E1, E2, …]"


def test_secrets_are_masked_before_anything_is_compared() -> None:
    one, other = ValueError("card 4711-12 of Ann"), ValueError("card hunter2 of Ann")
    assert group(one, card="4711-12") == group(other, card="hunter2")
    assert group(one, card="4711-12").message == f"card {MASK} of Ann"
    endless = "x" * 2_000_000
    assert endless[:50] not in group(ValueError(f"{endless} no"), secret=endless).message


class Hostile(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt("no text")

    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(name)


class Odd(str):
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class OddText(Exception):
    def __str__(self) -> str:
        return Odd("odd")


class OddMembers(ExceptionGroup[Exception]):
    exceptions = property(lambda self: 1 / 0)


ODD: dict[str, Callable[[], BaseException]] = {
    "Hostile": Hostile,
    "OddText": OddText,
    "ValueError": lambda: ValueError(Hostile()),
    "OddMembers": lambda: OddMembers("x", [ValueError()]),
    "SystemExit": SystemExit,
}


@pytest.mark.parametrize("kind", ODD)
def test_whatever_an_error_does_when_it_is_asked(kind: str) -> None:
    error = ODD[kind]()
    found = group(error)
    assert kind in found.kind
    assert len(found.key) == 12
    assert group(error, secret="hunter2").kind == found.kind


def test_a_place_that_cannot_be_found_does_not_keep_the_group_from_being_made() -> None:
    source = "def f():\n    raise ValueError('x')\n"
    for name in (None, 7, "a.b.c", "\ud800", ["x"]):
        space: dict[str, Any] = {"__name__": name}
        exec(compile(source, "/srv/app/odd.py", "exec"), space)
        assert group(raised(space["f"])).place == "odd.py:f"
    space = {}
    exec(compile(source, "<string>", "exec"), space)
    assert group(raised(space["f"])).place == f"{HERE}:raised"
