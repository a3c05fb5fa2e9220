"""The fields of a form for the arguments of a class, made from the types of its `perform`."""

from __future__ import annotations

import enum
import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, Literal

from pydantic_core import to_jsonable_python

from jobqueue.arguments import ParameterFacts
from jobqueue.job import Job
from jobqueue.web.problems import Problem

Kind = Literal["text", "number", "choice", "json"]

PREFIX = "arg."
"""The names of the fields begin with it, so that no parameter is mistaken for a field of a page."""
NONE_TEXT = "null"
MOST_CHOICES = 100
UNIONS = (typing.Union, types.UnionType)
TEXTS = (str, date, datetime, time)


@dataclass(frozen=True, slots=True)
class ArgumentField:
    """A field of a form.

    Args:
        name: the name of the parameter.
        kind: a text as it is, a number, one of several choices, or any JSON.
        hint: its type, as people write it.
        is_required: whether it has to be given.
        default: its default as a text; None without one, or where it is redacted.
        is_secret: whether its value must not be shown.
        choices: the JSON text and the words of each choice.
        value: what stands in it; nothing where it is secret, also if it was just typed.
        is_rest: whether it is a JSON object of further arguments.
    """

    name: str
    kind: Kind
    hint: str
    is_required: bool
    default: str | None
    is_secret: bool
    choices: tuple[tuple[str, str], ...] = ()
    value: str = ""
    is_rest: bool = False

    @property
    def key(self) -> str:
        """Its name in the form."""
        return PREFIX + self.name


def argument_fields(job_class: type[Job], values: Mapping[str, str]) -> list[ArgumentField]:
    """Return the fields for the arguments of a class.

    Args:
        job_class: the class.
        values: what stands in them, by the names of the parameters.

    Raises:
        InvalidJob: an annotation of `perform` names a type that cannot be found.
    """
    secret = set(job_class.redact)
    return [
        _field(facts, facts.name in secret, values.get(facts.name, ""))
        for facts in job_class.parameters().facts()
    ]


def _field(facts: ParameterFacts, is_secret: bool, value: str) -> ArgumentField:
    kind, choices = ("json", ()) if facts.is_list or facts.is_rest else _kind_of(facts.hint)
    has_default = not (facts.is_required or facts.is_list or facts.is_rest)
    default = _text(facts.default, kind) if has_default and not is_secret else None
    return ArgumentField(
        facts.name,
        kind,
        _hint_text(facts),
        facts.is_required,
        default,
        is_secret,
        choices,
        "" if is_secret else value,
        facts.is_rest,
    )


def _kind_of(hint: Any) -> tuple[Kind, tuple[tuple[str, str], ...]]:
    options = _without_none(hint)
    if len(options) != 1:
        return "json", ()
    [plain] = options
    if typing.get_origin(plain) is typing.Annotated:
        plain = typing.get_args(plain)[0]
    choices = tuple(_choices_of(plain))[:MOST_CHOICES]
    if choices:
        return "choice", choices
    if plain in (int, float):
        return "number", ()
    return ("text", ()) if plain in TEXTS else ("json", ())


def _without_none(hint: Any) -> list[Any]:
    """Return the types of a union but None, or the type itself."""
    if typing.get_origin(hint) in UNIONS:
        return [each for each in typing.get_args(hint) if each is not type(None)]
    return [hint]


def _choices_of(hint: Any) -> Iterator[tuple[str, str]]:
    if hint is bool:
        yield from (("true", "yes"), ("false", "no"))
    elif typing.get_origin(hint) is Literal:
        yield from ((_json(value), str(value)) for value in typing.get_args(hint))
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        yield from ((_json(member.value), member.name) for member in hint)


def _hint_text(facts: ParameterFacts) -> str:
    if facts.is_list:
        return "a JSON list"
    if facts.is_rest:
        return "a JSON object of further arguments"
    if facts.hint is Any:
        return "any JSON"
    return facts.hint.__name__ if isinstance(facts.hint, type) else str(facts.hint)


def stored_texts(job_class: type[Job], args: Mapping[str, Any]) -> dict[str, str]:
    """Return what stands in the fields for stored arguments. Secret ones are left empty."""
    secret, texts, rest = set(job_class.redact), dict[str, str](), dict(args)
    for field in argument_fields(job_class, {}):
        if field.is_rest:
            texts[field.name] = _json(rest) if rest else ""
        elif field.name in rest:
            value = rest.pop(field.name)
            texts[field.name] = "" if field.name in secret else _text(value, field.kind)
    return texts


def _text(value: Any, kind: Kind) -> str:
    plain = to_jsonable_python(value, fallback=repr)
    return plain if kind == "text" and isinstance(plain, str) else _json(plain)


def _json(value: Any) -> str:
    return json.dumps(to_jsonable_python(value, fallback=repr), ensure_ascii=False)


def given_texts(fields: Mapping[str, str]) -> dict[str, str]:
    """Return what was typed into the fields of a form, by the names of the parameters."""
    return {
        key.removeprefix(PREFIX): text for key, text in fields.items() if key.startswith(PREFIX)
    }


def arguments_in(
    fields: Sequence[ArgumentField], typed: Mapping[str, str], before: Mapping[str, str]
) -> dict[str, Any]:
    """Return the arguments that were typed, as JSON values, for the class to check.

    A field that is as it was says nothing, and so does an empty one of a secret.

    Args:
        fields: the fields of the form.
        typed: what stands in them now.
        before: what stood in them when the form was shown.

    Raises:
        Problem: a text is no number or no JSON, where it has to be one.
    """
    args: dict[str, Any] = {}
    for field in fields:
        text, was = typed.get(field.name, ""), before.get(field.name, "")
        if _same(text, was) or (field.is_secret and not text):
            continue
        value = _value_of(field, text)
        if field.is_rest:
            args |= _object(field, value)
        else:
            args[field.name] = value
    return args


def _same(text: str, was: str) -> bool:
    # A browser sends the ends of lines as it likes.
    return text.replace("\r\n", "\n") == was.replace("\r\n", "\n")


def _value_of(field: ArgumentField, text: str) -> Any:
    if field.kind == "text":
        is_none = text == NONE_TEXT and "None" in field.hint
        return None if is_none else text.replace("\r\n", "\n")
    if not text.strip():
        raise Problem(422, f"{field.name} is empty now; write a value, or {NONE_TEXT} for none")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        what = "a number" if field.kind == "number" else "JSON; a text needs double quotes there"
        raise Problem(422, f"{field.name}: {text[:100]!r} is not {what}") from None


def _object(field: ArgumentField, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Problem(422, f"{field.name} has to be a JSON object of further arguments")
    return value
