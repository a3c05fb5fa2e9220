"""A job's arguments between Python and JSON.

`Parameters` knows the parameters of one `perform`. It checks arguments against the annotations,
turns them into the text of a JSON object keyed by parameter name, and back. Types beyond JSON
(datetime, UUID, Decimal, Enum, dataclasses, pydantic models, …) go through pydantic's
`TypeAdapter`; plain ones take a shortcut, since this is on the path of every job.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import re
import typing
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from jobqueue.decimals import DecimalReader
from jobqueue.errors import InvalidArguments, InvalidJob
from jobqueue.exact_json import as_plain, as_texts, numbers_in, with_unsure_marked, written_in
from jobqueue.redaction import MASK

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MAX_ARGS_BYTES = 1024 * 1024
LONGEST_LIST = 500
PLAIN_TYPES = (int, str, float, bool, type(None))
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_Kind = inspect.Parameter


class Misfit(InvalidArguments):
    """Stored arguments of which some are surplus or missing: another release may take them."""


class Parameters:
    """The parameters of one `perform` and the way of their values into JSON and back.

    Args:
        function: what is called with them. A leading `self` is left out when `is_method`.
        job_name: the job's name, for messages.
        redact: the parameters whose values messages must not show.

    Raises:
        InvalidJob: a parameter is positional-only, which an object keyed by name cannot carry.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        job_name: str,
        *,
        is_method: bool,
        redact: Collection[str] = (),
    ) -> None:
        self._function = function
        self._job_name = job_name
        self._redact = redact
        signature = inspect.signature(function)
        listed = list(signature.parameters.values())[1 if is_method else 0 :]
        self.signature = signature.replace(parameters=listed)
        self._by_name = {parameter.name: parameter for parameter in listed}
        self._star_args = self._named(_Kind.VAR_POSITIONAL)
        self._star_kwargs = self._named(_Kind.VAR_KEYWORD)
        positional_only = self._named(_Kind.POSITIONAL_ONLY)
        if positional_only is not None:
            raise InvalidJob(
                f"{job_name}: parameter {positional_only!r} of perform is positional-only, but "
                "arguments are stored by name; remove the '/' from its signature"
            )

    def _named(self, kind: Any) -> str | None:
        return next((p.name for p in self._by_name.values() if p.kind == kind), None)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters, in order."""
        return tuple(self._by_name)

    def shown(self) -> str:
        """The parameters as their source has them, `(user_id: int, again: bool = False)`."""
        return f"({', '.join(str(_unquoted(each)) for each in self._by_name.values())})"

    # --- Python to JSON --------------------------------------------------------------------------

    def dump(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """The JSON text of a call's arguments.

        Raises:
            InvalidArguments: they do not fit the signature or its types, or JSON cannot carry them.
        """
        text = None if kwargs else self._plain_text(args)
        if text is not None:
            return checked_text(text, self._job_name)
        return self._to_text(self.check(args, kwargs))

    def _plain_text(self, args: tuple[Any, ...]) -> str | None:
        """The JSON of arguments of which nothing has to be looked into; else None, right or wrong.

        What `json` does for a few plain values takes it five times as long.
        """
        writers = self._plain_writers
        if writers is None or len(args) != len(writers):
            return None
        text = ""
        try:
            for value, (beginning, wanted, write) in zip(args, writers, strict=True):
                if type(value) is not wanted:
                    return None
                text += beginning + write(value)
        except ValueError:
            return None  # Python writes no number of thousands of digits
        return text + "}" if text else "{}"

    def check(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """A call's arguments by name, checked against the annotations.

        Raises:
            InvalidArguments: as in `dump`.
        """
        try:
            bound = self.signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            self._refuse(f"{error}; perform takes {self.signature}")
        values: dict[str, Any] = {}
        for name, value in bound.items():
            if name == self._star_args:
                values[name] = [self._check_one(name, item) for item in value]
            elif name != self._star_kwargs:
                values[name] = self._check_one(name, value)
        for name, value in bound.get(self._star_kwargs or "", {}).items():
            if name == self._star_args:
                self._refuse(f"keyword argument {name!r} has the name of the parameter *{name}")
            values[name] = self._check_one(name, value)
        return values

    def dump_mapping(self, given: Mapping[str, Any]) -> str:
        """The JSON text of arguments that come by name, as Python values or as JSON ones.

        Raises:
            InvalidArguments: as in `dump`.
        """
        args, kwargs = self._split(given, self._revive)
        return self.dump(args, kwargs)

    def _revive(self, name: str, value: Any) -> Any:
        """A value as `perform` gets it, given either that or its JSON form."""
        try:
            plain = as_plain(value) if written_in(value) else value
        except RecursionError:
            self._refuse(f"{name}: it contains itself, or is nested too deeply")
        converter = self._converter(name)
        if converter is None or converter is _Plain:
            _refuse_changed(value, lambda why: self._refuse(f"{name}: {why}"))
            return plain
        from pydantic import ValidationError

        try:
            made = self._adapter(name).validate_python(plain, strict=True)
        except ValidationError:
            _require_json(value, lambda why: self._refuse(f"{name}: {why}"))
            return self._read_json(name, value)
        self._refuse_rounded(name, value, made)
        return made

    def _read_json(self, name: str, value: Any) -> Any:
        """A value from its JSON form, with all digits of its numbers."""
        from pydantic import ValidationError

        adapter = self._adapter(name)
        value = with_unsure_marked(value)
        try:
            made = self._validated(adapter, as_plain(value))
        except ValidationError as error:
            self._refuse(_explain(name, error))
        reader = DecimalReader(adapter, partial(self._validated, adapter))
        try:
            decimals, exact = reader.read(value, made)
        except ValueError as error:
            self._refuse(f"{name}: {error}")
        # What is no decimal is a float: it has to be the one that was written.
        self._refuse_rounded(name, as_texts(value, lambda one: id(one) in decimals), exact)
        return exact

    def _validated(self, adapter: TypeAdapter[Any], value: Any) -> Any:
        text = encode_args({"": value}, self._job_name)[len('{"":') : -1]
        return adapter.validate_json(text, strict=True)

    def _refuse_rounded(self, name: str, value: Any, made: Any) -> None:
        _refuse_changed(value, lambda why: self._refuse(f"{name}: {why}"))
        large = [n for n in numbers_in(value) if isinstance(n, int) and not _is_a_float(n)]
        if large:
            dumped = self._adapter(name).dump_python(made)
            floats = {number for number in numbers_in(dumped) if type(number) is float}
            for number in large:
                if _as_float(number) in floats:
                    self._refuse(f"{name}: {_rounded(str(number))}")

    # --- JSON to Python --------------------------------------------------------------------------

    def load(self, text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a call, from the JSON text of a row.

        Raises:
            Misfit: the signature is another.
            InvalidArguments: the text is no JSON object, or its values are of other types.
        """
        if text == "{}" and not self._by_name:
            return (), {}
        try:
            stored, end = _decode(text)
            if end != len(text):
                stored = json.loads(text)
        except (ValueError, RecursionError) as error:
            self._refuse(f"the stored arguments are not JSON ({error})")
        if self._is_plainly_complete(stored):
            return (), stored
        if not isinstance(stored, dict):
            self._refuse(f"the stored arguments are not a JSON object but {type(stored).__name__}")
        self._refuse_misfit(stored)
        return self._split(stored, self._load_one)

    def _refuse_misfit(self, stored: Mapping[str, Any]) -> None:
        """Look at the names alone: what is of another signature may have other types as well."""
        given = {name: None for name in stored if name != self._star_args}
        try:
            self.signature.bind(**given)
        except TypeError as error:
            raise Misfit(
                f"{self._job_name}: the stored arguments {_listed(stored)} do not fit "
                f"perform{self.shown()}: {error}"
            ) from None

    def _is_plainly_complete(self, stored: Any) -> bool:
        """Whether it holds an argument of the right type for every parameter, and no others."""
        types = self._plain_types
        if types is None or type(stored) is not dict or len(stored) != len(types):
            return False
        for name, value in stored.items():  # noqa: SIM110 - a generator costs as much as the rest
            if types.get(name) is not type(value):
                return False
        return True

    def _load_one(self, name: str, value: Any) -> Any:
        converter = self._converter(name)
        if converter is None or (converter is _Plain and self._is_plainly_right(name, value)):
            return value
        from pydantic import ValidationError

        try:
            return self._adapter(name).validate_python(value)
        except ValidationError as error:
            self._refuse(f"the stored arguments do not fit perform: {_explain(name, error)}")

    def _split(
        self, given: Mapping[str, Any], convert: Callable[[str, Any], Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Values by name as the positional and keyword arguments of a call."""
        values = dict(given)
        items = values.pop(self._star_args, []) if self._star_args else []
        if not isinstance(items, list | tuple):
            self._refuse(
                f"{self._star_args!r} has to be a list, as the parameter *{self._star_args}"
            )
        star = tuple(convert(self._star_args or "", item) for item in items)
        before_star: list[Any] = []
        if star:
            # What stands before *args has to be passed by position when there are items.
            for parameter in self._by_name.values():
                if parameter.kind is not _Kind.POSITIONAL_OR_KEYWORD:
                    break
                before_star.append(self._take(values, parameter, convert))
        kwargs = {name: convert(name, value) for name, value in values.items()}
        return (*before_star, *star), kwargs

    def _take(
        self,
        values: dict[str, Any],
        parameter: inspect.Parameter,
        convert: Callable[[str, Any], Any],
    ) -> Any:
        if parameter.name in values:
            return convert(parameter.name, values.pop(parameter.name))
        if parameter.default is _Kind.empty:
            self._refuse(f"missing a required argument: {parameter.name!r}")
        return parameter.default

    # --- one value -------------------------------------------------------------------------------

    def _check_one(self, name: str, value: Any) -> Any:
        converter = self._converter(name)
        if converter is None:
            _require_json(value, lambda why: self._refuse(f"{name}: {why}"))
            return value
        if converter is _Plain and self._is_plainly_right(name, value):
            return value
        from pydantic import ValidationError

        try:
            made = self._adapter(name).validate_python(value, strict=True)
            if type(made) is float and made != value:
                self._refuse(f"{name}: {_rounded(str(value))}")
            return made
        except ValidationError as error:
            self._refuse(_explain(name, error))
        except RecursionError:
            self._refuse(f"{name}: it contains itself, or is nested too deeply")

    def _to_json(self, name: str, value: Any) -> Any:
        """A checked value as JSON-ready Python, made sure of by reading it back."""
        converter = self._converter(name)
        if converter is None or (converter is _Plain and type(value) in PLAIN_TYPES):
            return value
        adapter = self._adapter(name)
        try:
            dumped = adapter.dump_python(value, mode="json", warnings="error")
            restored = adapter.validate_python(dumped)
        except (ValueError, TypeError, RecursionError) as error:
            self._refuse(f"{name}: cannot be stored as JSON: {error}")
        if not _has_nan(dumped) and restored != value:
            self._refuse(
                f"{name}: comes back from JSON as {self._shown(name, restored)}, not as "
                f"{self._shown(name, value)}; "
                "annotate it with a type that pydantic can write and read back"
            )
        return dumped

    def _to_text(self, values: Mapping[str, Any]) -> str:
        by_name = {}
        for name, value in values.items():
            if name == self._star_args:
                by_name[name] = [self._to_json(name, item) for item in value]
            else:
                by_name[name] = self._to_json(name, value)
        return encode_args(by_name, self._job_name)

    def _is_plainly_right(self, name: str, value: Any) -> bool:
        return type(value) is self._hints.get(self._owner(name))

    def _converter(self, name: str) -> Any:
        """None for a parameter without an annotation, `_Plain`, or the annotation."""
        hint = self._hints.get(self._owner(name), Any)
        if hint is Any or hint is object:
            return None
        return _Plain if hint in _PLAIN_SET else hint

    def _owner(self, name: str) -> str:
        """The parameter that takes an argument of that name: it, or **kwargs."""
        if name in self._by_name or self._star_kwargs is None:
            return name
        return self._star_kwargs

    @functools.cached_property
    def _hints(self) -> dict[str, Any]:
        try:
            hints = typing.get_type_hints(self._function, include_extras=True)
        except Exception as error:  # an annotation may raise anything at all
            raise InvalidJob(
                f"{self._job_name}: the annotations of perform cannot be resolved: {error}; "
                "define the types that it names at the top level of its module"
            ) from error
        return {name: hint for name, hint in hints.items() if name in self._by_name}

    @functools.cached_property
    def _plain_types(self) -> dict[str, type] | None:
        """The type of each parameter, where each can be passed by position and is a plain one."""
        kinds = {parameter.kind for parameter in self._by_name.values()}
        if not kinds <= {_Kind.POSITIONAL_OR_KEYWORD}:
            return None
        types = {name: self._hints.get(name) for name in self._by_name}
        if not _PLAIN_SET.issuperset(types.values()):
            return None
        return typing.cast("dict[str, type]", types)

    @functools.cached_property
    def _plain_writers(self) -> list[tuple[str, type, Callable[[Any], str]]] | None:
        """For each parameter what comes before its value, its type, and what writes that."""
        types = self._plain_types
        if types is None or not _WRITERS.keys() >= set(types.values()):
            return None
        return [
            (f"{',' if place else '{'}{_encode(name)}:", wanted, _WRITERS[wanted])
            for place, (name, wanted) in enumerate(types.items())
        ]

    @functools.cached_property
    def _adapters(self) -> dict[str, TypeAdapter[Any]]:
        return {}

    def _adapter(self, name: str) -> TypeAdapter[Any]:
        owner = self._owner(name)
        if owner not in self._adapters:
            from pydantic import TypeAdapter
            from pydantic.errors import PydanticUserError

            try:
                self._adapters[owner] = TypeAdapter(self._hints.get(owner, Any))
            except PydanticUserError as error:
                self._refuse(
                    f"{owner}: values of {self._hints.get(owner)!r} cannot be stored as JSON; "
                    f"use a plain type, a dataclass or a pydantic model ({error.message})"
                )
        return self._adapters[owner]

    def _shown(self, name: str, value: object) -> str:
        return MASK if self._owner(name) in self._redact else _short(value)

    def _refuse(self, why: str) -> NoReturn:
        raise InvalidArguments(f"{self._job_name}: {why}") from None


class _Plain:
    """Marks an annotation that is itself a type of JSON."""


_PLAIN_SET = frozenset(PLAIN_TYPES)

# `json.dumps` would make an encoder for every job, and `json.loads` looks for blanks first.
_decode = json.JSONDecoder().raw_decode
_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode
_WRITERS: dict[type, Callable[[Any], str]] = {
    int: int.__repr__,
    str: _encode,
    bool: {True: "true", False: "false"}.__getitem__,
}


def encode_args(values: Mapping[str, Any], job_name: str) -> str:
    """The JSON text of arguments by name, refused if any database could not store it.

    Raises:
        InvalidArguments: it holds NaN, an infinity, NUL, half a surrogate pair or something that
            is not JSON, or is over 1 MiB.
    """

    if not values:
        return "{}"
    try:
        text = _encode(values)
    except RecursionError:
        _refuse_for(job_name, "the arguments contain themselves, or are nested too deeply")
    except (TypeError, ValueError) as error:
        _refuse_for(job_name, f"the arguments cannot be stored as JSON: {error}")
    return checked_text(text, job_name)


def checked_text(text: str, job_name: str) -> str:
    """JSON text that any database can store.

    Raises:
        InvalidArguments: it holds NUL or half a surrogate pair, or is over 1 MiB.
    """

    def refuse(why: str) -> NoReturn:
        _refuse_for(job_name, why)

    try:
        size = len(text) if text.isascii() else len(text.encode("utf-8"))
    except UnicodeEncodeError:
        refuse("the arguments contain half a surrogate pair, which is no text; clean the string")
    if "\\u0000" in text and _ESCAPED_NUL.search(text):
        refuse("the arguments contain a NUL character, which PostgreSQL cannot store; strip it")
    if size > MAX_ARGS_BYTES:
        refuse(
            f"the arguments take {size:,} bytes as JSON, over the limit of {MAX_ARGS_BYTES:,}; "
            "store the data elsewhere and pass its key"
        )
    return text


def _refuse_for(job_name: str, why: str) -> NoReturn:
    raise InvalidArguments(f"{job_name}: {why}") from None


def encode_unchecked(given: Mapping[str, Any], job_name: str) -> str:
    """The JSON text of arguments for a job whose code is not here.

    Raises:
        InvalidArguments: as in `encode_args`; also for keys that are not strings.
    """
    refuse = partial(_refuse_for, job_name)
    _require_json(dict(given), refuse)
    _refuse_changed(given, refuse)
    return encode_args(given, job_name)


def _require_json(value: Any, refuse: Callable[[str], NoReturn], depth: int = 0) -> None:
    """Refuse what JSON would quietly turn into something else, or cannot carry."""
    if value is None or isinstance(value, str | bool | int):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            refuse(f"{value!r} is not a number that JSON has")
        return
    if depth > 200:
        refuse("it contains itself, or is nested too deeply")
    if isinstance(value, list | tuple):
        for item in value:
            _require_json(item, refuse, depth + 1)
        return
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                refuse(f"key {key!r} of a dict is not a string, as JSON wants it")
            _require_json(item, refuse, depth + 1)
        return
    refuse(
        f"{type(value).__name__} is not JSON; annotate the parameter with its type, "
        "or pass something simpler (an id)"
    )


def _refuse_changed(value: Any, refuse: Callable[[str], NoReturn]) -> None:
    """Refuse numbers that a float would change."""
    for number in written_in(value):
        if number.is_sure and not number.is_faithful:
            refuse(_rounded(number.text))


def _rounded(text: str) -> str:
    shown = text if len(text) <= 80 else text[:77] + "..."
    return (
        f"{shown} has more digits than a float, and would be changed; annotate the parameter as "
        "Decimal, or pass a string"
    )


def _is_a_float(number: int) -> bool:
    return _as_float(number) == number


def _as_float(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _has_nan(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(_has_nan(item) for item in value.values())
    return isinstance(value, list) and any(_has_nan(item) for item in value)


def _explain(name: str, error: Any) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in (name, *first["loc"]))
    return f"{where}: {first['msg']}"


def _listed(stored: Mapping[str, Any]) -> str:
    """The names that a row has arguments for, `(user_id, locale)`."""
    names = ", ".join(stored)
    return f"({names})" if len(names) <= LONGEST_LIST else f"({names[:LONGEST_LIST]}…)"


def _unquoted(parameter: inspect.Parameter) -> inspect.Parameter:
    """A parameter whose annotation, if it is a string, prints without quotation marks."""
    if not isinstance(parameter.annotation, str):
        return parameter
    bare = type(parameter.annotation, (), {"__module__": "builtins"})
    return parameter.replace(annotation=bare)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
