"""What the records have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


NO_DELAY = timedelta(0)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """A frozen dataclass for what there is one of for every job, as the type checkers see it.

    Nothing stops an assignment while it runs: that would cost 0.2 us for each field of each job,
    since `frozen=True` makes `__init__` go through `object.__setattr__`.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
