"""Texts and arguments that may be shown: secrets are masked, and control characters spelled out."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

MASK = "***"
MAX_ERROR_CHARACTERS = 20_000
_SHORT = 4


def redact_args(args: Mapping[str, Any], redacted: Collection[str]) -> dict[str, Any]:
    """Replace the values of the named parameters by `***`."""
    return {name: MASK if name in redacted else value for name, value in args.items()}


def mask_values(text: str, secrets: Mapping[str, Any]) -> str:
    """Replace every literal occurrence of the given values in a text by `***`.

    Values inside lists and objects are masked one by one. A value of fewer than four characters
    is masked only as a whole word, so that a secret `1` does not mask every digit.
    """
    found = {form for value in secrets.values() for form in _forms(value)}
    for form in sorted(found, key=len, reverse=True):
        pattern = re.escape(form)
        if len(form) < _SHORT:
            pattern = rf"(?<!\w){pattern}(?!\w)"
        text = re.sub(pattern, MASK, text)
    return text


def masked(value: Any, secrets: Mapping[str, Any]) -> Any:
    """Replace the given values by `***` in the texts of a JSON value, keys included.

    A number is replaced only if it equals one of the given values.
    """
    if isinstance(value, str):
        return mask_values(value, secrets)
    if isinstance(value, Mapping):
        return {mask_values(str(key), secrets): masked(v, secrets) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, secrets) for item in value]
    is_secret = any(type(value) is type(one) and value == one for one in secrets.values())
    return MASK if is_secret and not isinstance(value, bool | None) else value


def clean_error(text: str) -> str:
    """Make an error message storable in every database: no NUL, no broken Unicode, not megabytes.

    A long one is cut in the middle, since a traceback says at its end what happened.
    """
    text = text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) <= MAX_ERROR_CHARACTERS:
        return text
    head, tail = MAX_ERROR_CHARACTERS // 4, MAX_ERROR_CHARACTERS * 3 // 4
    cut = len(text) - head - tail
    return f"{text[:head]}\n… {cut:,} characters left out …\n{text[-tail:]}"


def summary_of(error: str | None) -> str:
    """The line of a stored error that says what happened; in a traceback, that of the exception.

    Notes, further lines of the message and the members of a group come after it.
    """
    lines = (error or "").strip().splitlines()
    if not lines:
        return ""
    frames = [i for i, line in enumerate(lines) if line.lstrip(" |+").startswith('File "')]
    if not frames:
        return _cut(lines[0])
    group = next((i for i, line in enumerate(lines) if "Exception Group Traceback" in line), None)
    last = frames[-1] if group is None else max(i for i in frames if i < _members(lines, group))
    after = (line for line in lines[last + 1 :] if _is_message(line, in_group=group is not None))
    return _cut(next(after, lines[-1]).lstrip(" |+"))


def _members(lines: list[str], group: int) -> int:
    """The index of the line at which the members of an exception group begin."""
    return next((i for i in range(group, len(lines)) if "+-+---" in lines[i]), len(lines))


def _is_message(line: str, *, in_group: bool) -> bool:
    """Whether a line after a frame is the exception and not the frame's code."""
    if in_group:
        line = line.removeprefix("  | ")
    return bool(line) and not line[0].isspace()


def _cut(line: str, longest: int = 300) -> str:
    return line if len(line) <= longest else line[: longest - 3] + "..."


def printable(text: str) -> str:
    """Spell out the control characters of a text, except for line breaks and tabs."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else _spelled_out(c) for c in text)


def _spelled_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _forms(value: Any) -> Iterator[str]:
    """The texts by which a value may appear in a message."""
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _forms(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _forms(item)
    elif isinstance(value, str):
        if value:
            yield value
            yield repr(value)[1:-1]
            yield json.dumps(value)[1:-1]
            yield json.dumps(value, ensure_ascii=False)[1:-1]
    else:
        yield str(value)
        yield repr(value)
