"""Texts and arguments that may be shown: secrets are masked, and control characters spelled out."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
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
    return mask_of(secrets)(text)


def mask_of(secrets: Mapping[str, Any]) -> Callable[[str], str]:
    """The function that does to a text what `mask_values` does, for many texts."""
    found = {form for value in secrets.values() for form in _forms(value)}
    patterns = [_pattern_of(form) for form in sorted(found, key=len, reverse=True)]
    return partial(_masked_by, patterns)


def _pattern_of(form: str) -> re.Pattern[str]:
    pattern = re.escape(form)
    return re.compile(rf"(?<!\w){pattern}(?!\w)" if len(form) < _SHORT else pattern)


def _masked_by(patterns: Iterable[re.Pattern[str]], text: str) -> str:
    for pattern in patterns:
        text = pattern.sub(MASK, text)
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
    return clean_error_of([text])


def clean_error_of(pieces: Iterable[str]) -> str:
    """As `clean_error`, of a text in pieces. It may be of any length, and is never held whole."""
    kept, left_out = _both_ends(pieces)
    text = kept.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
    length = len(text) + left_out
    if length <= MAX_ERROR_CHARACTERS:
        return text
    head, tail = MAX_ERROR_CHARACTERS // 4, MAX_ERROR_CHARACTERS * 3 // 4
    return f"{text[:head]}\n… {length - head - tail:,} characters left out …\n{text[-tail:]}"


def _both_ends(pieces: Iterable[str]) -> tuple[str, int]:
    """The beginning and the end of a text, and how many characters between them are left out."""
    head, room = list[str](), MAX_ERROR_CHARACTERS
    tail, tail_length, left_out = deque[str](), 0, 0
    for piece in pieces:
        if room:
            head.append(piece[:room])
        end = piece[max(room, len(piece) - MAX_ERROR_CHARACTERS) :]
        left_out += max(len(piece) - room - len(end), 0)
        room = max(room - len(piece), 0)
        tail.append(end)
        tail_length += len(end)
        while tail_length - len(tail[0]) >= MAX_ERROR_CHARACTERS:
            tail_length -= len(tail[0])
            left_out += len(tail.popleft())
    return "".join([*head, *tail]), left_out


def error_line(error: BaseException) -> str:
    """`Kind: message` of an error. It raises nothing, whatever the error does when it is asked."""
    name, message = _name_of(type(error)), message_of(error)
    return f"{name}: {message}" if message else name


def message_of(error: BaseException) -> str:
    """The text of an error, or what Python's tracebacks have instead where it has none."""
    try:
        return str.__str__(str(error))
    except BaseException:  # noqa: BLE001 - an error may have any `__str__`
        return "<exception str() failed>"


def kind_of(error: BaseException) -> str:
    """The name of an error's class, with its module if that is not Python's own."""
    kind = type(error)
    try:
        module = _MODULE(kind)
    except AttributeError:
        module = None
    is_shown = type(module) is str and module not in {"builtins", "__main__"}
    return f"{module}.{_name_of(kind)}" if is_shown else _name_of(kind)


def _name_of(kind: type) -> str:
    return str.__str__(_QUALNAME(kind))


# The class itself is not asked: its metaclass may answer anything.
_MODULE, _QUALNAME = (vars(type)[name].__get__ for name in ("__module__", "__qualname__"))


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
