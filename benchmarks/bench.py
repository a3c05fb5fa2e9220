"""The tools of a row: databases, processes, sizes, and turns between ours and theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from benchmarks.commands import Commands
from benchmarks.databases import Databases
from benchmarks.loads import Load
from benchmarks.scratch import Scratch
from benchmarks.side import check
from benchmarks.sizes import Sizes
from benchmarks.trace import Trace

OURS = "benchmarks.ours"
T = TypeVar("T")


@dataclass
class Bench:
    """One adapter to measure on.

    Args:
        databases: where its scratch databases come from.
        commands: runs processes.
        sizes: how much to do.
        round_number: which round it is, from 0.
    """

    databases: Databases
    commands: Commands
    sizes: Sizes
    round_number: int = 0
    _loaded: dict[str, Scratch] = field(default_factory=dict)

    @property
    def adapter(self) -> str:
        """The adapter's name."""
        return self.databases.adapter

    @cached_property
    def scratch(self) -> Scratch:
        """The database that has nothing in it but what is being measured."""
        return self.databases.new_scratch()

    def loaded(self, name: str, loads: Sequence[Load], paused: str | None = None) -> Scratch:
        """A database with rows in it that stay; made when it is first asked for."""
        if name not in self._loaded:
            self._loaded[name] = self.databases.new_scratch(loads)
            if paused is not None:
                self._loaded[name].pause(paused)
        return self._loaded[name]

    def in_turns(self, measurements: Mapping[str, Callable[[], T]]) -> dict[str, T]:
        """Take measurements one after the other, in the other direction every second round."""
        names = list(measurements)
        if self.round_number % 2:
            names.reverse()
        return {name: measurements[name]() for name in names}

    # --- ours ------------------------------------------------------------------------------------

    def step(self, step: str, scratch: Scratch | None = None, **options: Any) -> Mapping[str, Any]:
        """A step of our script, in an emptied database."""
        place = scratch or self.scratch
        place.empty()
        return self.commands.step(OURS, step, place.url, **options)

    def drain(
        self,
        load: Load | None = None,
        *options: str,
        scratch: Scratch | None = None,
        processes: int = 1,
    ) -> Trace:
        """`jobs workoff` of a table that was filled with a load."""
        place, filled = scratch or self.scratch, load or Load(self.sizes.jobs)
        place.fill(filled)
        trace = self.commands.workoff(place.url, *options, processes=processes)
        return self.checked(trace, place, filled.rows)

    def checked(self, trace: Trace, scratch: Scratch, jobs: int) -> Trace:
        """A trace, if all of the work was done and no more."""
        check(trace.jobs, jobs, "performed")
        check(scratch.jobs_due(), 0, "left")
        return trace

    # --- bare ------------------------------------------------------------------------------------

    def bare_step(self, step: str, **options: Any) -> Mapping[str, Any]:
        """A step of the bare script, in an emptied database."""
        self.scratch.empty()
        return self.commands.step(self._bare, step, self.scratch.bare_url, **options)

    def drain_bare(
        self, *, jobs: int | None = None, processes: int = 1, module: str = "", **options: Any
    ) -> float:
        """The rate of the bare script, by one or several processes."""
        wanted = jobs or self.sizes.jobs
        self.scratch.fill_bare(wanted)
        what = (module or self._bare, "drain", self.scratch.bare_url)
        if processes > 1:
            figures = self.commands.steps_together(processes, *what, **options)
        else:
            figures = [self.commands.step(*what, **options)]
        check(sum(f["jobs"] for f in figures), wanted, "performed")
        return float(
            wanted / (max(f["ended"] for f in figures) - min(f["started"] for f in figures))
        )

    @property
    def _bare(self) -> str:
        assert self.scratch.bare is not None, "memory has nothing bare beside it"
        return self.scratch.bare
