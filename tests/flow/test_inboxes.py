"""Batches, chains and flows in the inbox of tests."""

from __future__ import annotations

from typing import Any

from jobqueue import Batch, Chain, Job
from jobqueue.testing import inbox, inline

calls: list[Any] = []


class Part(Job):
    def perform(self, name: str) -> str:
        calls.append(name)
        return name.upper()


class Whole(Job):
    def perform(self) -> None:
        calls.append(self.results)


def start_all() -> None:
    calls.clear()
    Chain(Part.step("a"), Part.step("b"), Whole.step()).start()
    Part.map([("c",), ("d",)], then=Whole.step())
    with Batch(on_success=Whole.step()) as batch:
        Part.set(batch=batch).perform_later("e")


def test_all_of_them_are_performed() -> None:
    with inbox() as box:
        start_all()
        assert calls == []
        box.perform_all()
    assert sorted(calls, key=str) == [["B"], ["C", "D"], ["E"], "a", "b", "c", "d", "e"]


def test_each_is_performed_as_it_comes() -> None:
    with inline():
        start_all()
    assert calls == ["a", "b", ["B"], "c", "d", ["C", "D"], "e", ["E"]]
