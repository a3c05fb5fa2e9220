"""The test of any calls in any order, compared with a plain model."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import ClassVar

import pytest

from jobqueue.adapters.base import Adapter
from jobqueue.clock import ManualClock
from jobqueue.testing.contract.base import ContractBase

EXAMPLES = "JOBQUEUE_TEST_EXAMPLES"


class AnyOrderContract(ContractBase):
    """Tests all methods together. Skipped if `hypothesis` is not installed.

    The calls are the same in every run, unless the environment says how many `examples` are to be
    tried, with JOBQUEUE_TEST_EXAMPLES: then they are new ones each time, and what fails is printed
    with what repeats it.
    """

    examples: ClassVar[int] = 100
    """The number of sequences of calls."""
    steps: ClassVar[int] = 40
    """The greatest number of calls in a sequence."""
    lateness: ClassVar[timedelta] = timedelta(0)
    """How long, by the clock, `turn` (not `claim`) may overlook a job that has become due."""

    def test_any_calls_in_any_order(self, adapter: Adapter, clock: ManualClock) -> None:
        pytest.importorskip("hypothesis")
        from hypothesis import HealthCheck, settings
        from hypothesis.stateful import run_state_machine_as_test

        from jobqueue.testing.contract.machine import AnyOrder

        lateness, given = self.lateness, os.environ.get(EXAMPLES)

        class OnThisAdapter(AnyOrder):
            def __init__(self) -> None:
                super().__init__(adapter, clock, lateness)

        run_state_machine_as_test(
            OnThisAdapter,
            settings=settings(
                max_examples=int(given or self.examples),
                stateful_step_count=self.steps,
                derandomize=given is None,
                database=None,
                deadline=None,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
