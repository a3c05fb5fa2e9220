"""Outcomes of jobs whose rows somebody else keeps locked. They are settled when that is over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jobqueue.clock import reconnect_pauses
from jobqueue.records import Outcome

NEVER = float("inf")
Pair = tuple[int, int]


class LockedOutcomes:
    """Outcomes that wait to be settled, and the time to try again, after pauses that grow."""

    def __init__(self) -> None:
        self.due_at = NEVER
        """When to try again, by the pump's timer."""
        self._outcomes: dict[Pair, Outcome] = {}
        self._unanswered: set[Pair] = set()
        self._pauses = reconnect_pauses()

    def __bool__(self) -> bool:
        """Whether any outcome waits."""
        return bool(self._outcomes)

    def outcomes(self) -> list[Outcome]:
        """All outcomes that wait."""
        return list(self._outcomes.values())

    def claims(self) -> set[Pair]:
        """The (id, token) of each job that waits."""
        return set(self._outcomes)

    def is_unanswered(self, outcome: Outcome) -> bool:
        """Whether an earlier turn, whose answer was lost, may have settled an outcome."""
        return _pair(outcome) in self._unanswered

    def add(self, outcomes: Iterable[Outcome], now: float, *, are_unanswered: bool = False) -> None:
        """Let outcomes wait here, to be settled later."""
        new = {_pair(outcome): outcome for outcome in outcomes}
        if not new:
            return
        self._outcomes |= new
        if are_unanswered:
            self._unanswered.update(new)
        self._pauses = reconnect_pauses()
        self.due_at = now + next(self._pauses)

    def keep(self, outcomes: Sequence[Outcome], now: float) -> list[Outcome]:
        """Let only these outcomes wait any longer. Return the others, which are done."""
        left = {_pair(outcome) for outcome in outcomes}
        done = [outcome for pair, outcome in self._outcomes.items() if pair not in left]
        self._outcomes = {pair: o for pair, o in self._outcomes.items() if pair in left}
        self._unanswered &= left
        self.due_at = now + next(self._pauses) if left else NEVER
        return done

    def note_unanswered(self, now: float) -> None:
        """Note that all outcomes were tried again, and that the answer was lost."""
        self._unanswered.update(self._outcomes)
        self.due_at = now + next(self._pauses)


def _pair(outcome: Outcome) -> Pair:
    return outcome.job.id, outcome.job.token
