"""Numbers of errors as small charts in plain text."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = ".:-=+*#@"
WIDEST = 40


def sparkline(numbers: Sequence[int]) -> str:
    """Return a line with a character for each number, the higher the larger it is."""
    blocks = BLOCKS if _can_be_printed(BLOCKS) else ASCII_BLOCKS
    most = max(numbers, default=0)
    return "".join(_block(number, most, blocks) for number in numbers).rstrip()


def _block(number: int, most: int, blocks: str) -> str:
    return blocks[(number * len(blocks) - 1) // most] if number > 0 else " "


def bars(numbers: Mapping[datetime, int], form: str) -> Iterator[str]:
    """Yield a line for each moment from the first on that has any, with a bar and a number.

    Args:
        numbers: the numbers, by their moments in order.
        form: how a moment is written, as `strftime` takes it.
    """
    most = max(numbers.values(), default=0)
    width = len(f"{most:,}")
    has_begun = False
    for moment, number in numbers.items():
        has_begun = has_begun or number > 0
        if has_begun:
            bar = "#" * -(-number * WIDEST // most)
            yield f"{moment.strftime(form)}  {number:>{width},}  {bar}".rstrip()


def _can_be_printed(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
