"""The traceback that is stored of an error is Python's own, however often it was written before."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest

from jobqueue.perform.tracebacks import MOST_FRAMES_KNOWN, MOST_KNOWN, error_text


def plain(number: int) -> None:
    raise ValueError(f"order {number} is late")


def deep(number: int) -> None:
    if not number:
        raise KeyError("at last")
    deep(number - 1)


def caused(number: int) -> None:
    try:
        plain(number)
    except ValueError as error:
        raise RuntimeError("and so") from error


def meanwhile(number: int) -> None:
    try:
        plain(number)
    except ValueError:
        raise RuntimeError("and then") from None


def misspelt(number: int) -> None:
    nubmer: int  # noqa: F842 - what is meant
    print(numbre)  # type: ignore[name-defined] # noqa: F821


def grouped(number: int) -> None:
    raise ExceptionGroup("several", [ValueError(str(number))])


def noted(number: int) -> None:
    error = ValueError(number)
    error.add_note(f"a note of {number}")
    raise error


def elsewhere(number: int) -> None:
    if number % 2:
        raise ValueError("odd")
    raise ValueError("even")


@pytest.mark.parametrize(
    "fails", [plain, deep, caused, meanwhile, misspelt, grouped, noted, elsewhere]
)
def test_every_time_it_is_that_of_python(fails: Callable[[int], None]) -> None:
    for number in (1, 2, MOST_FRAMES_KNOWN + 3, 1):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - of any kind
            fails(number)
        expected = "".join(traceback.format_exception(caught.value)).rstrip()
        assert error_text(caught.value, {}) == expected
        assert error_text(caught.value, {"secret": "hunter2"}) == expected


def test_code_that_is_made_anew_each_time_is_forgotten_again() -> None:
    for number in range(MOST_KNOWN + 10):
        code = compile(f"raise ValueError({number})", f"<made {number}>", "exec")
        with pytest.raises(ValueError, match=str(number)) as caught:
            exec(code)
        assert f"<made {number}>" in error_text(caught.value, {})
