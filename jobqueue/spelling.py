"""Messages for unknown names: which one was probably meant, and which there are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

CLOSE_ENOUGH = 0.8
OR_YOUR_OWN = "If it is something of your own, give it another name, or begin it with an underscore"


def close_to(name: str, known: Iterable[str]) -> str | None:
    """The known name that this one is most likely a misspelling of; None if there is none."""
    names = list(known)
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=CLOSE_ENOUGH)
    if close:
        return close[0]
    return next((other for other in names if _is_swapped(name.lower(), other)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The text `; did you mean 'redact'?` for a misspelling of a known name, and else nothing."""
    close = close_to(name, known)
    return f"; did you mean {close!r}?" if close else ""


def why_not_given(what: str, given: Mapping[str, object], known: Iterable[str]) -> str | None:
    """Say what is wrong with the names of some options, if anything is.

    Args:
        what: the name of what takes the options: `@job`, `.set()`.
        given: the options.
        known: the names that there are.
    """
    names = list(known)
    unknown = next((name for name in given if name not in names), None)
    if unknown is None:
        return None
    return (
        f"{what} takes no {unknown!r}{did_you_mean(unknown, names) or ';'} it takes "
        + ", ".join(names)
    )


def _is_swapped(name: str, other: str) -> bool:
    """Whether the names differ only by two neighbouring letters that have changed places.

    In a short word, that is too much for `difflib`.
    """
    if len(name) != len(other):
        return False
    differing = [i for i in range(len(name)) if name[i] != other[i]]
    if len(differing) != 2 or differing[1] != differing[0] + 1:
        return False
    first, second = differing
    return name[first] == other[second] and name[second] == other[first]
