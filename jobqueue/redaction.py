"""Texts and arguments that may be shown: secrets are masked, and control characters spelled out."""

from __future__ import annotations

import base64
import html
import json
import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from jobqueue.json_text import DEEPEST

MASK = "***"
MAX_ERROR_CHARACTERS = 20_000
_SHORT = 4
MOST_FORMS = 1_000
LONGEST_ENCODED = 10_000
MOST_COMPARED = 50_000_000
"""How many characters are compared for one job at most, which takes some 30 milliseconds."""
SHORT_FORM_COSTS = 3
"""A short form, which has to be a word, costs as much as so many long ones."""
CALL_COSTS = 100
"""A look into a text costs as much as so many more characters."""


def redact_args(args: Mapping[str, Any], redacted: Collection[str]) -> dict[str, Any]:
    """A copy of the arguments, with `***` for the values of the named parameters."""
    return {name: MASK if name in redacted else value for name, value in args.items()}


def mask_values(text: str, secrets: Mapping[str, Any]) -> str:
    """Replace every occurrence of the given values in a text by `***`: `Secrets.mask`."""
    return Secrets(secrets).mask(text)


class Secrets:
    """Values that must not be shown. It masks them in what a job says.

    Values inside lists and objects are masked one by one, and so are the keys of objects and the
    lines of a text. A value is found as it is, as Python or JSON writes it, and as a URL, HTML or
    base64 has it. One of fewer than four characters is masked only as a whole word, so that a
    secret `1` does not mask every digit.

    The work has a limit, since both the secrets and the texts come from outside: what is beyond it
    is masked as a whole.

    Args:
        values: the secrets, by name.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        forms, numbers, self._are_too_many = _looked_for(list(values.values()))
        self._long = sorted((f for f in forms if len(f) >= _SHORT), key=len, reverse=True)
        self._short = sorted((f for f in forms if len(f) < _SHORT), key=len, reverse=True)
        self._short_words = _as_words(self._short)
        self._numbers = {(type(number), number) for number in numbers}
        self._left_to_compare = MOST_COMPARED

    @property
    def were_too_many(self) -> bool:
        """Whether a text was masked as a whole, since too much would have had to be compared."""
        return self._are_too_many or self._left_to_compare < 0

    def mask(self, text: str) -> str:
        """Replace every occurrence of the secrets in a text by `***`."""
        if not self._may_compare(text):
            return MASK
        for form in self._long:
            text = text.replace(form, MASK)
        return self._short_words.sub(MASK, text) if self._short_words else text

    def masked(self, value: Any, depth: int = 0) -> Any:
        """Replace the secrets by `***` in a JSON value, keys included.

        A number is replaced only if it equals a secret; what is nested deeply, as a whole.
        """
        if isinstance(value, str):
            return self.mask(value)
        if depth == DEEPEST and isinstance(value, Mapping | list | tuple):
            return MASK
        if isinstance(value, Mapping):
            below = depth + 1
            return {self.mask(str(key)): self.masked(item, below) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.masked(item, depth + 1) for item in value]
        return MASK if (type(value), value) in self._numbers else value

    def _may_compare(self, text: str) -> bool:
        forms = len(self._long) + SHORT_FORM_COSTS * len(self._short)
        self._left_to_compare -= forms * (len(text) + CALL_COSTS)
        return not self._are_too_many and self._left_to_compare >= 0


def _looked_for(values: list[Any]) -> tuple[set[str], list[int | float], bool]:
    """The forms and the numbers of values, and whether there are too many to be looked for."""
    try:
        forms = _first_of(_forms(values), MOST_FORMS + 1)
        return forms, list(_numbers(values)), len(forms) > MOST_FORMS
    except RecursionError:  # they are nested as deeply as JSON can be
        return set(), [], True


def _first_of(forms: Iterator[str], most: int) -> set[str]:
    """The first forms that differ, without those that come after them."""
    found: set[str] = set()
    for form in forms:
        found.add(form)
        if len(found) == most:
            break
    return found


def _as_words(forms: Collection[str]) -> re.Pattern[str] | None:
    either = "|".join(map(re.escape, forms))
    return re.compile(rf"(?<!\w)(?:{either})(?!\w)") if forms else None


def clean_error(text: str) -> str:
    """Make an error message storable in every database: no NUL, no broken Unicode, not megabytes.

    A long one is cut in the middle, since a traceback says at its end what happened.
    """
    if len(text) <= MAX_ERROR_CHARACTERS and text.isascii() and "\x00" not in text:
        return text
    return clean_error_of([text])


def clean_error_of(pieces: Iterable[str]) -> str:
    """Clean the text of an error like `clean_error`, in pieces, so that it is never held whole."""
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
        if len(piece) <= room:  # as all of nearly every error
            head.append(piece)
            room -= len(piece)
            continue
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


def in_ascii(text: str) -> str:
    """Return a text for a database whose encoding has not all of its characters."""
    return text.encode("ascii", "backslashreplace").decode("ascii")


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
        for key, item in value.items():
            yield from _forms(key)
            yield from _forms(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _forms(item)
    elif isinstance(value, str):
        yield from filter(None, _forms_of_text(value))
    else:
        yield str(value)
        yield repr(value)


def _forms_of_text(text: str) -> Iterator[str]:
    yield text
    yield repr(text)[1:-1]
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    if len(text) <= LONGEST_ENCODED:
        yield from _encoded_forms(text)
    lines = text.splitlines()
    if len(lines) > 1:
        # A traceback of a group indents each of them.
        yield from (stripped for line in lines if len(stripped := line.strip()) >= _SHORT)


def _encoded_forms(text: str) -> Iterator[str]:
    data = text.encode("utf-8", "surrogatepass")
    yield quote(data, safe="")
    yield quote(data)
    yield quote_plus(data)
    yield html.escape(text)
    if len(data) >= _SHORT:
        yield base64.b64encode(data).decode().rstrip("=")
        yield base64.urlsafe_b64encode(data).decode().rstrip("=")


def _numbers(value: Any) -> Iterator[int | float]:
    if isinstance(value, Mapping):
        yield from _numbers(list(value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value
