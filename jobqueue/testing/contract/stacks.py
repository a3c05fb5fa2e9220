"""Questions for the stacks of workers, and the answers."""

from __future__ import annotations

from datetime import timedelta

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.records import Stack, WorkerStacks
from jobqueue.testing.contract.base import TEXTS, ContractBase

MINUTE = timedelta(minutes=1)
STACKS = (
    Stack("MainThread", ("app.py:3 in perform", "lib.py:9 in wait"), 7, "app.Import"),
    Stack("jobqueue-pump", ()),
)


class StacksContract(ContractBase):
    """Tests the methods about stacks of workers."""

    def test_a_question_is_answered_once(self, adapter: Adapter, clock: ManualClock) -> None:
        asked_at = clock.now()
        question = WorkerStacks("w", asked_at, "ada@laptop")
        assert adapter.ask_for_stacks("w", "ada@laptop") == question
        assert adapter.stacks_of("w") == question
        assert adapter.workers_asked_for_stacks(["w", "other"]) == {"w"}
        clock.advance(2)
        assert adapter.answer_with_stacks("w", STACKS)
        answer = WorkerStacks("w", asked_at, "ada@laptop", clock.now(), STACKS)
        assert adapter.stacks_of("w") == answer
        assert adapter.workers_asked_for_stacks(["w"]) == set()
        assert not adapter.answer_with_stacks("w", ())
        assert adapter.stacks_of("w") == answer

    def test_nobody_has_asked(self, adapter: Adapter) -> None:
        assert adapter.stacks_of("w") is None
        assert adapter.workers_asked_for_stacks(["w"]) == set()
        assert adapter.workers_asked_for_stacks([]) == set()
        assert not adapter.answer_with_stacks("w", STACKS)
        assert adapter.stacks_of("w") is None

    def test_only_those_that_are_meant_are_asked(self, adapter: Adapter) -> None:
        for name in ("a", "b", "c"):
            adapter.ask_for_stacks(name)
        assert adapter.workers_asked_for_stacks(["a", "c", "d"]) == {"a", "c"}

    def test_asking_again_forgets_the_answer(self, adapter: Adapter, clock: ManualClock) -> None:
        adapter.ask_for_stacks("w")
        adapter.answer_with_stacks("w", STACKS)
        clock.advance(MINUTE)
        again = adapter.ask_for_stacks("w", "ben")
        assert again == adapter.stacks_of("w") == WorkerStacks("w", clock.now(), "ben")
        assert adapter.workers_asked_for_stacks(["w"]) == {"w"}

    def test_any_text_may_be_in_a_frame(self, adapter: Adapter) -> None:
        stack = Stack("thread", TEXTS, 1, "Work")
        adapter.ask_for_stacks("w")
        adapter.answer_with_stacks("w", [stack])
        answer = adapter.stacks_of("w")
        assert answer is not None
        assert answer.stacks == (stack,)

    def test_old_questions_are_pruned(self, adapter: Adapter, clock: ManualClock) -> None:
        for name in ("a", "b", "c"):
            adapter.ask_for_stacks(name)
        adapter.answer_with_stacks("a", STACKS)
        clock.advance(MINUTE)
        adapter.ask_for_stacks("new")
        assert adapter.prune_stacks(MINUTE * 2, 10) == 0
        assert adapter.prune_stacks(MINUTE, 2) == 2
        assert adapter.prune_stacks(MINUTE, 2) == 1
        assert adapter.prune_stacks(MINUTE, 2) == 0
        assert [n for n in ("a", "b", "c", "new") if adapter.stacks_of(n)] == ["new"]
