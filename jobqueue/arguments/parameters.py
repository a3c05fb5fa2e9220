"""The parameters of one `perform`, and the arguments of a call between Python and JSON.

Arguments are stored as the text of a JSON object, by the names of the parameters. Plain ones take
a shortcut, since this is on the path of every job.
"""

from __future__ import annotations

import functools
import inspect
import json
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from jobqueue.arguments.converter import PLAIN_TYPES, Converter, MaskingConverter
from jobqueue.arguments.json_values import called_for, encode_args, refuse_for
from jobqueue.errors import InvalidArguments, InvalidJob
from jobqueue.json_text import encode, storable

LONGEST_LIST = 500
_Kind = inspect.Parameter
_VARIADIC = {_Kind.VAR_POSITIONAL, _Kind.VAR_KEYWORD}

# `json.loads` looks for blanks first.
_decode = json.JSONDecoder().raw_decode
_WRITERS: dict[type, Callable[[Any], str]] = {
    int: int.__repr__,
    str: encode,
    bool: {True: "true", False: "false"}.__getitem__,
}


class Misfit(InvalidArguments):
    """Stored arguments of which some are surplus or missing: another release may take them."""


@dataclass(frozen=True, slots=True)
class ParameterFacts:
    """The facts of a parameter that a form has to know.

    Args:
        name: its name.
        hint: its annotation; `Any` without one.
        is_required: whether it has to be given.
        default: its default; None without one.
        is_list: whether it is `*args`, whose values are a list.
        is_rest: whether it is `**kwargs`, whose values are given by names of their own.
    """

    name: str
    hint: Any
    is_required: bool
    default: Any
    is_list: bool = False
    is_rest: bool = False


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
        self._job_name = job_name
        self._called = called_for(job_name)
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
        converter = Converter(function, self._by_name, job_name)
        self._converter = MaskingConverter(converter, redact) if redact else converter

    def _named(self, kind: Any) -> str | None:
        return next((p.name for p in self._by_name.values() if p.kind == kind), None)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters, in order."""
        return tuple(self._by_name)

    def facts(self) -> list[ParameterFacts]:
        """Return the facts of each parameter, in order.

        Raises:
            InvalidJob: an annotation names a type that cannot be found.
        """
        hints = self._converter.hints
        return [
            ParameterFacts(
                name,
                hints.get(name, Any),
                each.default is inspect.Parameter.empty and each.kind not in _VARIADIC,
                None if each.default is inspect.Parameter.empty else each.default,
                is_list=each.kind is _Kind.VAR_POSITIONAL,
                is_rest=each.kind is _Kind.VAR_KEYWORD,
            )
            for name, each in self._by_name.items()
        ]

    def defaults(self, names: Collection[str]) -> dict[str, Any]:
        """The defaults of those of some parameters that have one, by name."""
        found = ((name, self._by_name[name].default) for name in names if name in self._by_name)
        return {name: default for name, default in found if default is not inspect.Parameter.empty}

    def json_values(self, text: str) -> dict[str, Any]:
        """The values of all parameters as JSON has them, by the text of a call's arguments.

        Where a call leaves a parameter out, it is the default. All that `**kwargs` has is under its
        name.
        """
        stored: dict[str, Any] = json.loads(text)
        values = dict(self._json_defaults)
        if self._star_kwargs is not None:
            named = self._by_name.keys() - {self._star_kwargs}
            rest = {name: stored.pop(name) for name in stored.keys() - named}
            values[self._star_kwargs] = rest
        return values | stored

    @functools.cached_property
    def _json_defaults(self) -> dict[str, Any]:
        return {name: self._json_default(name, d) for name, d in self.defaults(self.names).items()}

    def _json_default(self, name: str, default: Any) -> Any:
        """A default as JSON has it; itself where it is of another type than its parameter."""
        try:
            return self._converter.to_json(name, self._converter.check(name, default))
        except InvalidArguments:
            return default

    def shown(self) -> str:
        """The parameters as their source has them, `(user_id: int, again: bool = False)`."""
        return f"({', '.join(str(unquoted(each)) for each in self._by_name.values())})"

    # --- Python to JSON --------------------------------------------------------------------------

    def dump(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """The JSON text of a call's arguments.

        Raises:
            InvalidArguments: they do not fit the signature or its types, or JSON cannot carry them.
        """
        text = None if kwargs else self._plain_text(args)
        if text is not None:
            return storable(text, self._called)
        return self._to_text(self.check(args, kwargs))

    def _plain_text(self, args: tuple[Any, ...]) -> str | None:
        """The JSON of arguments that are plainly right; None for others, right or wrong.

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
                values[name] = [self._converter.check(name, item) for item in value]
            elif name != self._star_kwargs:
                values[name] = self._converter.check(name, value)
        for name, value in bound.get(self._star_kwargs or "", {}).items():
            if name == self._star_args:
                self._refuse(f"keyword argument {name!r} has the name of the parameter *{name}")
            values[name] = self._converter.check(name, value)
        return values

    def dump_mapping(self, given: Mapping[str, Any]) -> str:
        """The JSON text of arguments that come by name, as Python values or as JSON ones.

        Raises:
            InvalidArguments: as in `dump`.
        """
        args, kwargs = self._split(given, self._converter.revive)
        return self.dump(args, kwargs)

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
        return self._split(stored, self._converter.load)

    def _refuse_misfit(self, stored: Mapping[str, Any]) -> None:
        """Raise `Misfit` if names are surplus or missing. Types are not looked at here."""
        given = {name: None for name in stored if name != self._star_args}
        try:
            self.signature.bind(**given)
        except TypeError as error:
            raise Misfit(
                f"{self._job_name}: the stored arguments {_listed(stored)} do not fit "
                f"perform{self.shown()}: {error}"
            ) from None

    def _is_plainly_complete(self, stored: Any) -> bool:
        """Whether every parameter has an argument of its type, and there are no others."""
        types = self._plain_types
        if types is None or type(stored) is not dict or len(stored) != len(types):
            return False
        for name, value in stored.items():  # noqa: SIM110 - a generator costs as much as the rest
            if types.get(name) is not type(value):
                return False
        return True

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

    # --- text ------------------------------------------------------------------------------------

    def _to_text(self, values: Mapping[str, Any]) -> str:
        by_name = {}
        for name, value in values.items():
            if name == self._star_args:
                by_name[name] = [self._converter.to_json(name, item) for item in value]
            else:
                by_name[name] = self._converter.to_json(name, value)
        return encode_args(by_name, self._job_name)

    @functools.cached_property
    def _plain_types(self) -> dict[str, type] | None:
        """The type of each parameter, where each can be passed by position and is a plain one."""
        kinds = {parameter.kind for parameter in self._by_name.values()}
        if not kinds <= {_Kind.POSITIONAL_OR_KEYWORD}:
            return None
        types = {name: self._converter.hints.get(name) for name in self._by_name}
        if not PLAIN_TYPES.issuperset(types.values()):
            return None
        return typing.cast("dict[str, type]", types)

    @functools.cached_property
    def _plain_writers(self) -> list[tuple[str, type, Callable[[Any], str]]] | None:
        """For each parameter the text before its value, the value's type, and what writes it."""
        types = self._plain_types
        if types is None or not _WRITERS.keys() >= set(types.values()):
            return None
        return [
            (f"{',' if place else '{'}{encode(name)}:", wanted, _WRITERS[wanted])
            for place, (name, wanted) in enumerate(types.items())
        ]

    def _refuse(self, why: str) -> NoReturn:
        refuse_for(self._job_name, why)


def _listed(stored: Mapping[str, Any]) -> str:
    """The names that a row has arguments for, `(user_id, locale)`."""
    names = ", ".join(stored)
    return f"({names})" if len(names) <= LONGEST_LIST else f"({names[:LONGEST_LIST]}…)"


def unquoted(parameter: inspect.Parameter) -> inspect.Parameter:
    """A parameter whose annotation, if it is a string, prints without quotation marks."""
    if not isinstance(parameter.annotation, str):
        return parameter
    bare = type(parameter.annotation, (), {"__module__": "builtins"})
    return parameter.replace(annotation=bare)
