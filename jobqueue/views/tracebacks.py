"""Texts of errors, taken apart for people who look for the line of their own that went wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MOST_FRAMES = 100
LIBRARIES = re.compile(
    r"(?:^|/)(?:site-packages|dist-packages)/|/lib/python\d|^<|(?:^|/)jobqueue/[a-z_]+[/.]"
)
_FRAME = re.compile(r'  File "(?P<file>[^"\n]*)", line (?P<line>\d+), in (?P<function>.+)')
_TRACEBACK = "Traceback (most recent call last):"


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a traceback.

    Args:
        file: its file, as the process that raised saw it.
        line: the number of the line.
        function: the function.
        code: the lines below it in the traceback; empty where there are none.
        is_own: whether it is the application's own, and no library's.
    """

    file: str
    line: int
    function: str
    code: str
    is_own: bool


@dataclass(frozen=True, slots=True)
class ErrorText:
    """The text of an error, taken apart.

    Args:
        text: the whole text.
        headline: the type and the message of what was raised last.
        frames: those of the application's own first, from the innermost on; then the libraries'.
    """

    text: str
    headline: str
    frames: tuple[Frame, ...]

    @property
    def own(self) -> tuple[Frame, ...]:
        """The frames of the application's own code, from the innermost on."""
        return tuple(frame for frame in self.frames if frame.is_own)

    @property
    def others(self) -> tuple[Frame, ...]:
        """The frames of libraries, from the innermost on."""
        return tuple(frame for frame in self.frames if not frame.is_own)


def error_text_of(text: str) -> ErrorText:
    """Return the text of an error, taken apart. One without a traceback is its own headline."""
    last = text.rpartition(_TRACEBACK)[2]
    frames = list(_frames_of(last))[-MOST_FRAMES:]
    frames.reverse()
    own_first = sorted(frames, key=lambda frame: not frame.is_own)
    return ErrorText(text, _headline(last), tuple(own_first))


def _frames_of(text: str) -> Iterator[Frame]:
    lines = text.split("\n")
    for place, line in enumerate(lines):
        found = _FRAME.fullmatch(line)
        if found is not None and len(found["line"]) < 10:
            code = "\n".join(_code_below(lines, place + 1))
            is_own = LIBRARIES.search(found["file"]) is None
            yield Frame(found["file"], int(found["line"]), found["function"], code, is_own)


def _code_below(lines: list[str], place: int) -> Iterator[str]:
    for line in lines[place:]:
        if not line.startswith("    "):
            return
        yield line[4:]


def _headline(text: str) -> str:
    """The text from the first line on that is not indented, as that of an exception is."""
    lines = text.strip("\n").split("\n")
    for place, line in enumerate(lines):
        if line.strip() and not line.startswith(" "):
            return "\n".join(lines[place:]).strip()
    return text.strip()
