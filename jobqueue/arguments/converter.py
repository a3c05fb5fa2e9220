"""One value of an argument between Python and JSON, by the annotation of its parameter.

Types beyond JSON (datetime, UUID, Decimal, Enum, dataclasses, pydantic models, …) go through
pydantic's `TypeAdapter`. Types that JSON has need no conversion.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from jobqueue.arguments.json_values import (
    Refuse,
    encode_args,
    has_nan,
    refuse_changed,
    refuse_for,
    refuse_rounded_whole,
    require_json,
    rounded,
    short,
)
from jobqueue.decimals import DecimalReader
from jobqueue.errors import InvalidArguments, InvalidJob
from jobqueue.exact_json import as_plain, as_texts, with_unsure_marked, written_in

if TYPE_CHECKING:
    from pydantic import TypeAdapter

PLAIN_TYPES = frozenset((int, str, float, bool, type(None)))
"""The types that JSON has, and that hold no other values."""
SELF_CONTAINED = "it contains itself, or is nested too deeply"


class _Plain:
    """The mark of an annotation that is itself a type of JSON."""


class Converter:
    """A converter of values of the parameters of one `perform`, between Python and JSON.

    Args:
        function: has the annotations.
        parameters: the parameters by name.
        job_name: the job's name, for messages.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        parameters: Mapping[str, inspect.Parameter],
        job_name: str,
    ) -> None:
        self._function = function
        self._parameters = parameters
        self.job_name = job_name
        kinds = {parameter.kind: name for name, parameter in parameters.items()}
        self._star_kwargs = kinds.get(inspect.Parameter.VAR_KEYWORD)
        self._adapters: dict[str, TypeAdapter[Any]] = {}

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """The annotations of the parameters.

        Raises:
            InvalidJob: one names a type that cannot be found.
        """
        try:
            hints = typing.get_type_hints(self._function, include_extras=True)
        except Exception as error:  # an annotation may raise anything at all
            raise InvalidJob(
                f"{self.job_name}: the annotations of perform cannot be resolved: {error}; "
                "define the types that it names at the top level of its module"
            ) from error
        return {name: hint for name, hint in hints.items() if name in self._parameters}

    # --- Python to JSON --------------------------------------------------------------------------

    def check(self, name: str, value: Any) -> Any:
        """A value as `perform` gets it.

        Raises:
            InvalidArguments: it is of another type.
        """
        hint = self._hint_of(name)
        if hint is None:
            require_json(value, self._refuse_naming(name))
            return value
        if hint is _Plain and self._is_plainly_right(name, value):
            return value
        from pydantic import ValidationError

        try:
            made = self._adapter_of(name).validate_python(value, strict=True)
            if type(made) is float and made != value:
                self._refuse(f"{name}: {rounded(str(value))}")
            return made
        except ValidationError as error:
            self._refuse(_explain(name, error))
        except RecursionError:
            self._refuse(f"{name}: {SELF_CONTAINED}")

    def to_json(self, name: str, value: Any) -> Any:
        """The JSON form of a checked value.

        Raises:
            InvalidArguments: it cannot be written, or does not come back from JSON as it was.
        """
        hint = self._hint_of(name)
        if hint is None or (hint is _Plain and type(value) in PLAIN_TYPES):
            return value
        adapter = self._adapter_of(name)
        try:
            dumped = adapter.dump_python(value, mode="json", warnings="error")
            restored = adapter.validate_python(dumped)
        except (ValueError, TypeError, RecursionError) as error:
            self._refuse(f"{name}: cannot be stored as JSON: {error}")
        if not has_nan(dumped) and restored != value:
            self._refuse(
                f"{name}: comes back from JSON as {short(restored)}, not as "
                f"{short(value)}; "
                "annotate it with a type that pydantic can write and read back"
            )
        return dumped

    # --- JSON to Python --------------------------------------------------------------------------

    def load(self, name: str, value: Any) -> Any:
        """A value as `perform` gets it, from its JSON form in a row.

        Raises:
            InvalidArguments: it is of another type.
        """
        hint = self._hint_of(name)
        if hint is None or (hint is _Plain and self._is_plainly_right(name, value)):
            return value
        from pydantic import ValidationError

        try:
            return self._adapter_of(name).validate_python(value)
        except ValidationError as error:
            self._refuse(f"the stored arguments do not fit perform: {_explain(name, error)}")

    def revive(self, name: str, value: Any) -> Any:
        """A value as `perform` gets it, given either that or its JSON form.

        Raises:
            InvalidArguments: it is neither, or a float would change one of its numbers.
        """
        try:
            plain = as_plain(value) if written_in(value) else value
        except RecursionError:
            self._refuse(f"{name}: {SELF_CONTAINED}")
        hint = self._hint_of(name)
        if hint is None or hint is _Plain:
            refuse_changed(value, self._refuse_naming(name))
            return plain
        from pydantic import ValidationError

        try:
            made = self._adapter_of(name).validate_python(plain, strict=True)
        except ValidationError:
            require_json(value, self._refuse_naming(name))
            return self._read_json(name, value)
        self._refuse_rounded(name, value, made)
        return made

    def _read_json(self, name: str, value: Any) -> Any:
        """A value from its JSON form, with all digits of its numbers."""
        from pydantic import ValidationError

        adapter = self._adapter_of(name)
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
        # A number that is no decimal is a float, which has to be the number that was written.
        self._refuse_rounded(name, as_texts(value, lambda one: id(one) in decimals), exact)
        return exact

    def _validated(self, adapter: TypeAdapter[Any], value: Any) -> Any:
        text = encode_args({"": value}, self.job_name)[len('{"":') : -1]
        return adapter.validate_json(text, strict=True)

    def _refuse_rounded(self, name: str, value: Any, made: Any) -> None:
        refuse = self._refuse_naming(name)
        refuse_changed(value, refuse)
        refuse_rounded_whole(value, lambda: self._adapter_of(name).dump_python(made), refuse)

    # --- the annotation --------------------------------------------------------------------------

    def _hint_of(self, name: str) -> Any:
        """The annotation, `_Plain` for a type that JSON has, or None where there is none."""
        hint = self.hints.get(self.owner_of(name), Any)
        if hint is Any or hint is object:
            return None
        return _Plain if hint in PLAIN_TYPES else hint

    def _is_plainly_right(self, name: str, value: Any) -> bool:
        return type(value) is self.hints.get(self.owner_of(name))

    def owner_of(self, name: str) -> str:
        """The parameter that takes an argument of that name: its own, or `**kwargs`."""
        if name in self._parameters or self._star_kwargs is None:
            return name
        return self._star_kwargs

    def _adapter_of(self, name: str) -> TypeAdapter[Any]:
        owner = self.owner_of(name)
        if owner not in self._adapters:
            from pydantic import TypeAdapter
            from pydantic.errors import PydanticUserError

            try:
                self._adapters[owner] = TypeAdapter(self.hints.get(owner, Any))
            except PydanticUserError as error:
                self._refuse(
                    f"{owner}: values of {self.hints.get(owner)!r} cannot be stored as JSON; "
                    f"use a plain type, a dataclass or a pydantic model ({error.message})"
                )
        return self._adapters[owner]

    # --- messages --------------------------------------------------------------------------------

    def _refuse(self, why: str) -> NoReturn:
        refuse_for(self.job_name, why)

    def _refuse_naming(self, name: str) -> Refuse:
        return partial(refuse_for, f"{self.job_name}: {name}")


class MaskingConverter:
    """A converter whose refusals say nothing of the values of some parameters.

    Args:
        converter: converts the values.
        redact: the parameters whose values refusals must not show.
    """

    def __init__(self, converter: Converter, redact: Collection[str]) -> None:
        self._converter = converter
        self._redact = redact

    @property
    def hints(self) -> dict[str, Any]:
        """The annotations of the parameters: `Converter.hints`."""
        return self._converter.hints

    def check(self, name: str, value: Any) -> Any:
        """A value as `perform` gets it: `Converter.check`."""
        return self._masking(self._converter.check, name, value)

    def to_json(self, name: str, value: Any) -> Any:
        """The JSON form of a checked value: `Converter.to_json`."""
        return self._masking(self._converter.to_json, name, value)

    def load(self, name: str, value: Any) -> Any:
        """A value as `perform` gets it, from a row: `Converter.load`."""
        return self._masking(self._converter.load, name, value)

    def revive(self, name: str, value: Any) -> Any:
        """A value as `perform` gets it, given either that or its JSON form: `Converter.revive`."""
        return self._masking(self._converter.revive, name, value)

    def _masking(self, convert: Callable[[str, Any], Any], name: str, value: Any) -> Any:
        try:
            return convert(name, value)
        except InvalidArguments:
            if self._converter.owner_of(name) in self._redact:
                self._refuse(name)
            raise

    def _refuse(self, name: str) -> NoReturn:
        refuse_for(
            self._converter.job_name,
            f"{name}: the value does not fit its annotation, or JSON cannot carry it; it is "
            "redacted, so that no more is said",
        )


def _explain(name: str, error: Any) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in (name, *first["loc"]))
    return f"{where}: {first['msg']}"
