"""Secrets are masked in whatever form they appear, and masking them takes no long time."""

from __future__ import annotations

import base64
import html
import json
import time
import traceback
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from jobqueue.redaction import MASK, MOST_COMPARED, MOST_FORMS, Secrets, mask_values

SECRET = 'p&ss w/"\u00e9\n<x>'
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\nEFAASCBKcwggSj\n-----END KEY-----"


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        repr(SECRET)[1:-1],
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        html.escape(SECRET),
        base64.b64encode(SECRET.encode()).decode().rstrip("="),
        base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
    ],
)
def test_a_secret_is_masked_in_each_form(form: str) -> None:
    assert mask_values(f"before {form} after", {"password": SECRET}) == "before *** after"


def test_the_keys_and_values_of_a_secret_object_are_masked() -> None:
    secrets = {"accounts": {"ann@example.com": {"pin": 1234, "tags": ["hush-hush"]}}}
    text = "ann@example.com has 1234 and hush-hush, not 12345"
    assert mask_values(text, secrets) == "*** has *** and ***, not ***5"


def test_a_short_secret_is_masked_as_a_word_only() -> None:
    assert mask_values("7 of 17, a7, 7.5", {"pin": 7}) == "*** of 17, a7, ***.5"


def test_the_lines_of_a_secret_are_masked_in_the_traceback_of_a_group() -> None:
    try:
        raise ExceptionGroup(
            "some", [ValueError(f"no key: {KEY}"), ExceptionGroup("in", [ValueError(KEY)])]
        )
    except ExceptionGroup as error:
        text = mask_values("".join(traceback.format_exception(error)), {"key": KEY})
    assert "MIIEvQIBADANBgkqhkiG9w0BAQ" not in text
    assert "EFAASCBKcwggSj" not in text
    assert "ValueError" in text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (12345, MASK),
        (12346, 12346),
        (0.25, MASK),
        (1, 1),
        (True, True),
        (None, None),
        (
            ["ann", {"hunter2": "say hunter2", "x": [12345]}],
            ["ann", {MASK: "say ***", "x": [MASK]}],
        ),
    ],
)
def test_values_of_json_are_masked(value: Any, shown: Any) -> None:
    secrets = {"password": "hunter2", "pins": [12345, {"rate": 0.25}], "is_admin": True, "no": None}
    assert Secrets(secrets).masked(value) == shown


# --- how long it takes ---------------------------------------------------------------------------


def test_a_large_secret_and_a_large_progress_take_no_time() -> None:
    """It was half a minute: a pattern was compiled for each text."""
    progress = {str(number): "some text" for number in range(1_000)}
    begun = time.thread_time()
    assert Secrets({"text": "x" * 100_000}).masked(progress) == progress
    assert time.thread_time() - begun < 1


def test_what_would_take_too_long_is_masked_as_a_whole() -> None:
    secrets = Secrets({"list": [f"secret-{number}" for number in range(MOST_FORMS // 4)]})
    assert secrets.mask("harmless") == "harmless"
    begun = time.thread_time()
    texts = ["y" * 1_000_000] * 1_000
    assert secrets.masked(texts)[-1] == MASK
    assert time.thread_time() - begun < 1
    assert secrets.mask("harmless") == MASK, "there is no more time for this job"


def test_too_many_secrets_mask_every_text() -> None:
    begun = time.thread_time()
    secrets = Secrets({"list": [f"secret {number}" for number in range(1_000_000)]})
    assert secrets.masked(["harmless", 5]) == [MASK, 5]
    assert time.thread_time() - begun < 3


def test_a_text_as_long_as_errors_are_is_not_masked_as_a_whole() -> None:
    secrets = {"name": "Ann", "card": "4111 1111 1111 1111", "address": SECRET}
    text = "a line of a traceback\n" * (MOST_COMPARED // 20_000)
    assert mask_values(text + "4111 1111 1111 1111", secrets) == text + MASK
