"""Texts of errors, taken apart."""

from __future__ import annotations

import traceback

import pytest

from jobqueue.views.tracebacks import error_text_of

CHAINED = """Traceback (most recent call last):
  File "/srv/shop/old.py", line 1, in first
    1 / 0
ZeroDivisionError: division by zero

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/shop/jobs.py", line 41, in perform
    pay(
    ~~~^
  File "/srv/shop/pay.py", line 3, in pay
    bank.send()
  File "/usr/lib/python3.13/json/decoder.py", line 7, in decode
  File "/srv/venv/lib/python3.13/site-packages/bank/client.py", line 9, in send
    raise Declined(
bank.Declined: no
  money
"""


def test_own_frames_come_first_from_the_innermost_on() -> None:
    found = error_text_of(CHAINED)
    assert [(frame.function, frame.line) for frame in found.own] == [("pay", 3), ("perform", 41)]
    assert [frame.function for frame in found.others] == ["send", "decode"]
    assert [frame.function for frame in found.frames] == ["pay", "perform", "send", "decode"]
    assert found.own[1].code == "pay(\n~~~^"
    assert found.others[1].code == ""
    assert found.headline == "bank.Declined: no\n  money"
    assert found.text == CHAINED


def test_what_python_writes() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        found = error_text_of(traceback.format_exc())
    assert found.headline == "ValueError: no"
    [frame] = found.frames
    assert (frame.is_own, frame.function) == (True, "test_what_python_writes")
    assert frame.file == __file__
    assert frame.code.startswith('raise ValueError("no")')


@pytest.mark.parametrize(
    "text", ["", "no route", "a\nb", "  File", '  File "x", line 99, in', "\0"]
)
def test_a_text_without_a_traceback_is_its_own_headline(text: str) -> None:
    found = error_text_of(text)
    assert found.frames == ()
    assert found.headline == text.strip()


def test_a_number_of_a_line_that_is_none_is_no_frame() -> None:
    assert error_text_of(f'  File "x", line {"9" * 5000}, in f').frames == ()
