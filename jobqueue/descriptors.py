"""File descriptors that others may close: code in a job that closes all there are, as daemons do.

Their numbers are given to other files afterwards. Whoever went on would read what belongs to those,
or write into them.
"""

from __future__ import annotations

import os


class Descriptor:
    """An open file descriptor, which notices when its number has come to mean something else.

    Args:
        number: of a descriptor that is open.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._file = _file_of(number)

    @property
    def is_intact(self) -> bool:
        """Whether no other code has closed the descriptor."""
        try:
            return _file_of(self.number) == self._file
        except OSError:
            return False

    def check(self) -> None:
        """Make sure that the descriptor is intact.

        Raises:
            OSError: somebody has closed it.
        """
        if not self.is_intact:
            raise OSError(f"something in this process has closed its file descriptor {self.number}")

    def close(self) -> None:
        """Close the descriptor, unless other code has closed it."""
        if self.is_intact:
            os.close(self.number)


def _file_of(number: int) -> tuple[int, int]:
    facts = os.fstat(number)
    return facts.st_dev, facts.st_ino
