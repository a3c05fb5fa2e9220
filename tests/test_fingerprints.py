"""Errors that are alike are in one group, whatever differs from job to job."""

from __future__ import annotations

import time

import pytest

from jobqueue.fingerprints import (
    LONGEST_MESSAGE,
    WORKER_GONE,
    group_of,
    group_of_rescued,
    plain_message,
)

SAME = {
    "numbers": ("order 4711 has 3 items", "order 9 has 12,000 items"),
    "a sign and a fraction": ("balance is -3.50", "balance is 1e-7"),
    "quoted text": ("no column 'first name'", "no column 'x'"),
    "quoted text with an apostrophe": ("can't read 'Ann's file'", "can't read 'b'"),
    "double quotes": ('invalid "a\'b" here', 'invalid "" here'),
    "typographic quotes": ("unknown “Ann”", "unknown “Ben”"),
    "the key of a KeyError": ("'user_id'", "'email'"),
    "uuid": (
        "no job 7f1d3c52-6a5b-4f0e-9a51-1f0a8f0c2b11",
        "no job 00000000-0000-0000-0000-00000000abcd",
    ),
    "hex": ("commit deadbeef1234 is gone", "commit 0123456789abcdef is gone"),
    "ids of services": ("charge ch_3NfA81kQz2 failed", "charge ch_9aaaaBBBB1 failed"),
    "e-mail": ("ann.b+c@example.com bounced", "x@mail.example.co.uk bounced"),
    "url": ("GET https://a.example/x?y=1#z failed", "GET http://localhost:80 failed"),
    "ip": ("connect to 10.0.0.1:5432 failed", "connect to 192.168.10.200:1 failed"),
    "ip, version 6": ("connect to fe80::1 failed", "connect to 2001:db8:0:1:1:1:1:1 failed"),
    "memory": ("<Thing object at 0x7f00deadbeef>", "<Thing object at 0x1>"),
    "time": ("late since 2026-01-31T12:00:00.5+00:00", "late since 2026-02-01 00:00:00"),
    "time of day": ("due at 09:30:00", "due at 23:59:59.999"),
    "lists of any length": ("missing 1, 2, 3", "missing 4, 5, 6, 7, 8"),
    "white space": ("a\n  b\tc", "a b c"),
}


@pytest.mark.parametrize("messages", SAME.values(), ids=SAME)
def test_what_differs_from_job_to_job_is_replaced(messages: tuple[str, str]) -> None:
    one, other = (group_of("Work", "ValueError", "jobs.py:f", message) for message in messages)
    assert one == other
    assert len(one.key) == 12


def test_what_is_said_is_left() -> None:
    message = "Order 17 of ann@example.com isn't paid: card 'x' (ch_3NfA81kQz2) was declined"
    assert plain_message(message) == (
        "Order <number> of <email> isn't paid: card <text> (ch_<id>) was declined"
    )


def test_other_errors_are_in_other_groups() -> None:
    facts = [
        ("Work", "ValueError", "jobs.py:f", "no"),
        ("Work2", "ValueError", "jobs.py:f", "no"),
        ("Work", "KeyError", "jobs.py:f", "no"),
        ("Work", "ValueError", "jobs.py:g", "no"),
        ("Work", "ValueError", None, "no"),
        ("Work", "ValueError", "jobs.py:f", "yes"),
    ]
    assert len({group_of(*each).key for each in facts}) == len(facts)


def test_a_key_stays_what_it_is_from_release_to_release() -> None:
    assert group_of("jobs.Work", "ValueError", "jobs.py:Work.perform", "3 apples").key == (
        "9ba3c588714f"
    )


# --- workers that are gone -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "the worker web-1:default.1:0a1b2c3d that performed it is gone: its process was killed",
            "the worker db:4711:ffffffff that performed it is gone: its process was killed",
        ),
        (
            "the worker process default.1 died while it performed this job (signal SIGKILL)",
            "the worker process email.12 died while it performed this job (signal SIGKILL)",
        ),
    ],
)
def test_worker_does_not_make_a_group(one: str, other: str) -> None:
    assert group_of_rescued("Work", one) == group_of_rescued("Work", other)
    assert group_of_rescued("Work", one).kind == WORKER_GONE
    assert "<worker>" in group_of_rescued("Work", one).message


def test_ways_to_die_are_groups_of_their_own() -> None:
    died = "the worker process default.1 died while it performed this job (signal {})"
    groups = {group_of_rescued("Work", died.format(name)) for name in ("SIGKILL", "SIGSEGV")}
    assert len(groups) == 2


# --- what is hostile -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "'",
            '"',
            "a'",
            "'a ",
            "a@",
            "a.",
            "0",
            "f:",
            "::",
            "1.",
            "12:",
            "x://",
            "a://'",
            "“",
            "«",
            "A1",
        ),
        *(
            "<number>, ",
            "1, ",
            "-",
            "\x00",
            "\ud800",
            " ",
            "\u202e",
            "é",
            "b'",
            "0x",
            "\u2018",
            "+-.@",
        ),
    ],
)
def test_a_message_of_megabytes_takes_no_time(piece: str) -> None:
    message = piece * (3_000_000 // len(piece))
    began = time.perf_counter()
    group = group_of("Work", piece * 100_000, piece * 100_000, message)
    assert time.perf_counter() - began < 0.5
    assert len(group.message) <= LONGEST_MESSAGE
    assert len(group.kind) <= 400
    for text in (group.kind, group.place or "", group.message):
        assert "\x00" not in text
        text.encode()
