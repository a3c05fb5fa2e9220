"""Output to a pipe whose reader is slow, or reads no more."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import BinaryIO, TextIO

import pytest

from jobqueue.runner import output_streams
from jobqueue.runner.output_streams import unfailing

MEGABYTE = "0123456789abcde\n" * 65536
PIPE = tuple[BinaryIO, TextIO]


@pytest.fixture(params=["opened again", "as it was inherited"])
def pipe(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[PIPE]:
    """Its two ends; also where it cannot be opened again, as outside Linux."""
    if request.param == "as it was inherited":
        monkeypatch.setattr(output_streams, "_opened_again", lambda _: None)
    ours, theirs = os.pipe()
    with (
        os.fdopen(ours, "rb") as reader,
        os.fdopen(theirs, "w") as stream,
        unfailing(stream) as writer,
    ):
        yield reader, writer


def test_a_reader_that_is_slow_gets_all(pipe: PIPE, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_streams, "READER_PATIENCE_SECONDS", 60.0)
    reader, writer = pipe
    writing = threading.Thread(target=writer.write, args=[MEGABYTE])
    writing.start()
    assert reader.read(len(MEGABYTE)) == MEGABYTE.encode()
    writing.join()


def test_what_nobody_reads_is_dropped_until_somebody_reads_again(pipe: PIPE) -> None:
    reader, writer = pipe
    begun = time.monotonic()
    for _ in range(20):
        writer.write(MEGABYTE)
    assert time.monotonic() - begun < 15, "it waits once, for 2 s, and not each time"
    os.set_blocking(reader.fileno(), False)
    while reader.read(65536):
        pass
    writer.write("it reads again\n")
    writer.flush()
    assert str(reader.read(65536)).count("it reads again") == 1
