"""Performers of the jobs that a handoff brings: one at a time, or several.

One at a time, all of it happens on the thread that runs the worker, which is usually the main
thread. With several at a time, that thread only hands the jobs out: sync jobs run on a pool of
threads, and async jobs on an event loop, which has a thread of its own or is the application's.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Protocol

from jobqueue import forks, log
from jobqueue.errors import JobCancelled
from jobqueue.perform.attempt import StopNow, timeout_error
from jobqueue.perform.executor import Executor, RunCoroutine
from jobqueue.records import Outcome, Released, Succeeded
from jobqueue.worker.handoff import Handoff, Taken
from jobqueue.worker.interruption import Alarm, AlarmClock, Interruptible
from jobqueue.worker.slots import Slots
from jobqueue.worker.stacks import Whereabouts
from jobqueue.worker.threads import Loop, LoopThread, ThreadPool

STOP_NOW_SECONDS = 1.0
NO_DEADLINE = 0.0
NO_RETRY = -1.0


class Performer(Protocol):
    """A performer of the jobs of a handoff."""

    def run(self) -> None:
        """Perform jobs until there will be no more, and return when all of them are finished."""
        ...

    def stop_now(self) -> None:
        """Have the jobs that run given back. The handoff has to be closed before."""
        ...

    def cancel(self, taken: Taken) -> None:
        """Cancel an async job that runs, or interrupt a sync one if its class wants that."""
        ...

    def give_back(self, taken: Taken) -> None:
        """Have a job that runs end at once, to be given back. From any thread."""
        ...

    def performing(self) -> list[Whereabouts]:
        """Return the jobs that are being performed, and where. From any thread."""
        ...

    def close(self) -> None:
        """End the threads and event loops."""
        ...


@dataclass(slots=True)
class TimedExecutor:
    """An executor of jobs that publishes each job in its slot, and limits its time.

    Args:
        executor: turns a job into an outcome.
        alarm_clock: notices jobs that are overdue.
        slots: memory shared with a supervisor, which kills this process when a job has ended
            neither in its time nor `kill_after` later; None when there is no supervisor.
        kill_after: how long a job may go on after its time.
        logger_of: the logger for what concerns a job, by its handler.
    """

    executor: Executor
    alarm_clock: AlarmClock
    slots: Slots | None
    kill_after: timedelta
    logger_of: Callable[[str], logging.Logger]

    def execute(
        self,
        taken: Taken,
        work: Interruptible,
        alarm: Alarm,
        run_coroutine: RunCoroutine | None = None,
    ) -> Outcome:
        """Perform a job on this thread, interrupted when its time is over.

        What fails around `perform` is charged to the job, as is what `perform` itself raises.

        Raises:
            KeyboardInterrupt: on the main thread of an application, between two jobs.
        """
        process_id = forks.pid
        try:
            if self.slots is None and not self.executor.can_be_interrupted(taken.job):
                return self.executor.execute(taken.job, work.run, run_coroutine, work.held_off)
            with self._timed(taken) as limit:
                return self._execute_in_time(taken, work, alarm, run_coroutine, limit)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the worker goes on, whatever a job does
            return self.executor.charge(taken.job, error)
        finally:
            if forks.pid != process_id:
                self.executor.end_forked_process(taken.job)

    def _execute_in_time(
        self,
        taken: Taken,
        work: Interruptible,
        alarm: Alarm,
        run_coroutine: RunCoroutine | None,
        limit: timedelta | None,
    ) -> Outcome:
        # An async job is cancelled by its event loop, and needs no interruption.
        is_interrupted = limit is not None and not self.executor.is_async(taken.job)
        if limit is not None and is_interrupted:
            alarm.set(limit.total_seconds(), partial(work.interrupt, timeout_error(limit)))
        elif self.executor.interrupts_on_cancel(taken.job) or taken.job.terms.gates:
            alarm.arm()
        try:
            return self.executor.execute(taken.job, work.run, run_coroutine, work.held_off)
        finally:
            if is_interrupted:
                alarm.cancel()

    async def execute_async(self, taken: Taken, *, on_shared_loop: bool) -> Outcome:
        """Perform an async job in this task, cancelled when its time is over.

        What fails around `perform` is charged to the job, as in `execute`.
        """
        perform = partial(self.executor.execute_async, on_shared_loop=on_shared_loop)
        process_id = forks.pid
        try:
            if self.slots is None and self.executor.max_runtime(taken.job) is None:
                return await perform(taken.job)
            with self._timed(taken):
                return await perform(taken.job)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            return self.executor.charge(taken.job, error)
        finally:
            if forks.pid != process_id:
                self.executor.end_forked_process(taken.job)

    @contextmanager
    def _timed(self, taken: Taken) -> Iterator[timedelta | None]:
        with self._published(taken):
            limit = self.executor.max_runtime(taken.job)
            if limit is None:
                yield None
                return
            watched = self._overdue_is_noticed if self.slots is None else self._overdue_is_killed
            with watched(taken, limit):
                yield limit

    @contextmanager
    def _published(self, taken: Taken) -> Iterator[None]:
        """Publish a job during the block, so that a crash is charged to it. Its code runs there."""
        if self.slots is None:
            yield
            return
        self.slots.publish(taken.slot, taken.job, NO_DEADLINE, 0.0)
        try:
            yield
        finally:
            self.slots.clear(taken.slot)

    @contextmanager
    def _overdue_is_killed(self, taken: Taken, limit: timedelta) -> Iterator[None]:
        """Publish the job's deadline during the block, and the delay of the retry after a kill.

        A retry policy of the application's own is asked on another thread when the time is over,
        and not before: most jobs end in their time, and it may do anything. If it cannot be asked
        then, since the job lets no other thread run, what follows is what the default policy says.
        """
        deadline = time.monotonic() + (limit + self.kill_after).total_seconds()
        self._publish_limit(taken, deadline, self.executor.delay_after_kill(taken.job))
        if not self.executor.has_policy_of_its_own(taken.job):
            yield
            return
        question = PolicyQuestion(
            partial(self.executor.delay_after_timeout, taken.job),
            partial(self._publish_limit, taken, deadline),
        )
        key = self.alarm_clock.call_after(limit.total_seconds(), question.ask_on_a_thread)
        try:
            yield
        finally:
            self.alarm_clock.cancel(key)
            question.withdraw()

    def _publish_limit(self, taken: Taken, deadline: float, delay: timedelta | None) -> None:
        if self.slots is not None:
            retry_delay = NO_RETRY if delay is None else delay.total_seconds()
            self.slots.publish(taken.slot, taken.job, deadline, retry_delay)

    @contextmanager
    def _overdue_is_noticed(self, taken: Taken, limit: timedelta) -> Iterator[None]:
        """Log the job if it is overdue: no supervisor kills this process."""
        seconds = limit.total_seconds()
        tell = partial(log.job_overdue, self.logger_of(taken.job.handler), taken.job, seconds)
        key = self.alarm_clock.call_after(seconds + self.kill_after.total_seconds(), tell)
        try:
            yield
        finally:
            self.alarm_clock.cancel(key)


class PolicyQuestion:
    """A question to the retry policy of a job that is over its time.

    Args:
        ask: asks the policy, which is code of the application and may take long.
        publish: takes the answer, unless the job has ended meanwhile.
    """

    def __init__(
        self, ask: Callable[[], timedelta | None], publish: Callable[[timedelta | None], None]
    ) -> None:
        self._ask = ask
        self._publish = publish
        self._lock = threading.Lock()
        self._is_open = True

    def ask_on_a_thread(self) -> None:
        """Ask the policy on a new thread, so that the alarms of other jobs do not wait for it."""
        threading.Thread(target=self._answer, name="jobqueue-policy", daemon=True).start()

    def withdraw(self) -> None:
        """Ignore the answer from now on: the slot may be another job's."""
        with self._lock:
            self._is_open = False

    def _answer(self) -> None:
        delay = self._ask()
        with self._lock:
            if self._is_open:
                self._publish(delay)


class SequentialPerformer:
    """A performer of one job at a time, on the thread that calls `run`.

    Args:
        handoff: where the jobs are.
        executor: executes them.
        alarm: what interrupts a sync job whose time is over.
        owns_process: whether the process is the worker's own. Then each job finds the standard
            streams as the first one did.
    """

    def __init__(
        self, handoff: Handoff, executor: TimedExecutor, alarm: Alarm, *, owns_process: bool = False
    ) -> None:
        self._handoff = handoff
        self._owns_process = owns_process
        self._executor = executor
        self._alarm = alarm
        self._work = Interruptible()
        self._thread_id: int | None = None

    def run(self) -> None:
        """Perform jobs until there will be no more, and return when all of them are finished.

        Raises:
            KeyboardInterrupt: on the main thread of an application; the job is given back.
        """
        taken: Taken | None = None
        self._thread_id = threading.get_ident()
        owns_process, out, err = self._owns_process, sys.stdout, sys.stderr
        while True:
            # Made before the job is taken, so that `stop_now` finds it whenever it comes.
            self._work = Interruptible()
            if taken is None:
                taken = self._handoff.take()
            if taken is None:
                return
            try:
                outcome = self._executor.execute(taken, self._work, self._alarm)
            except KeyboardInterrupt:
                self._handoff.finish(taken, Released(taken.job))
                raise
            if owns_process and (sys.stdout is not out or sys.stderr is not err):
                sys.stdout, sys.stderr = out, err
            taken = self._handoff.finish_and_take(taken, outcome)

    def stop_now(self) -> None:
        """Have the jobs that run given back. The handoff has to be closed before.

        Raises:
            StopNow: in a sync job, when a signal handler on its thread calls this.
        """
        if not self._executor.executor.stop_coroutine():
            self._work.interrupt(StopNow)

    def cancel(self, taken: Taken) -> None:
        work, executor = self._work, self._executor.executor
        if not self._handoff.is_performing(taken):
            return
        if executor.is_async(taken.job):
            executor.cancel_coroutine(taken.job)
        elif executor.interrupts_on_cancel(taken.job):
            self._alarm.call_now(partial(work.interrupt, JobCancelled))

    def give_back(self, taken: Taken) -> None:
        work, executor = self._work, self._executor.executor
        if not self._handoff.is_performing(taken):
            return
        if executor.is_async(taken.job):
            executor.stop_coroutine()
        else:
            self._alarm.call_now(partial(work.interrupt, StopNow))

    def performing(self) -> list[Whereabouts]:
        tasks = self._executor.executor.tasks()
        found: list[Whereabouts] = []
        for taken in self._handoff.taken():
            found += [Whereabouts(taken.job, task=task) for task in tasks]
            found.append(Whereabouts(taken.job, self._thread_id))
        return found

    def close(self) -> None:
        self._executor.executor.close()


class ConcurrentPerformer:
    """A performer of as many jobs at a time as the handoff has slots.

    Args:
        handoff: where the jobs are.
        executor: executes them.
        new_alarm: makes what interrupts a sync job whose time is over.
        loop: where async jobs are performed; a loop of its own by default.
    """

    def __init__(
        self,
        handoff: Handoff,
        executor: TimedExecutor,
        new_alarm: Callable[[], Alarm],
        loop: Loop | None = None,
    ) -> None:
        self._handoff = handoff
        self._executor = executor
        self._new_alarm = new_alarm
        self._threads = ThreadPool(handoff.slots)
        self._loop = loop or LoopThread(self._charge_tasks)
        self._interruptibles: dict[int, Interruptible] = {}
        self._tasks: dict[asyncio.Task[Outcome], Taken] = {}
        self._stop_by: float | None = None
        self._abandoned = False
        self._error: RuntimeError | None = None

    def run(self) -> None:
        """Perform jobs until there will be no more, and return when all of them are finished.

        Raises:
            RuntimeError: there is no thread for a job, or no loop.
        """
        self._loop.start()
        while (taken := self._handoff.take()) is not None:
            self._start(taken)
        while not self._handoff.wait_until_finished(STOP_NOW_SECONDS / 10):
            if self._loop.is_dead:
                self._give_back_async_jobs()
            if self._stop_by is not None and time.monotonic() > self._stop_by:
                self._abandoned = True
                self._handoff.abandon()
        if self._error is not None:
            raise self._error

    def stop_now(self) -> None:
        """Have all jobs given back. Those that do not end within a second are left behind."""
        self._stop_by = time.monotonic() + STOP_NOW_SECONDS
        for work in list(self._interruptibles.values()):
            work.interrupt(StopNow)
        with suppress(RuntimeError):  # a loop that is closed has no tasks any more
            self._loop.call_soon(self._cancel_tasks)

    def cancel(self, taken: Taken) -> None:
        work, executor = self._interruptibles.get(taken.slot), self._executor.executor
        if not self._handoff.is_performing(taken):
            return
        if executor.is_async(taken.job):
            with suppress(RuntimeError):
                self._loop.call_soon(self._cancel_task, taken)
        elif work is not None and executor.interrupts_on_cancel(taken.job):
            work.interrupt(JobCancelled)

    def give_back(self, taken: Taken) -> None:
        work = self._interruptibles.get(taken.slot)
        if not self._handoff.is_performing(taken):
            return
        if self._executor.executor.is_async(taken.job):
            with suppress(RuntimeError):
                self._loop.call_soon(self._cancel_task, taken)
        elif work is not None:
            work.interrupt(StopNow)

    def performing(self) -> list[Whereabouts]:
        tasks = {id(taken): task for task, taken in list(self._tasks.items())}
        found: list[Whereabouts] = []
        for taken in self._handoff.taken():
            work = self._interruptibles.get(taken.slot)
            if id(taken) in tasks:
                found.append(Whereabouts(taken.job, task=tasks[id(taken)]))
            elif work is not None and not self._executor.executor.is_async(taken.job):
                found.append(Whereabouts(taken.job, work.thread_id))
        return found

    def close(self) -> None:
        # Threads whose jobs were left behind end with the process.
        self._threads.close(wait=not self._abandoned)
        self._loop.close(wait=not self._abandoned)

    def _start(self, taken: Taken) -> None:
        """Have a job performed, or give it back if there is no thread or loop for it."""
        try:
            if self._executor.executor.is_async(taken.job):
                self._loop.call_soon(self._start_task, taken)
            else:
                self._threads.submit(partial(self._perform_on_thread, taken))
        except RuntimeError as error:
            self._fail(taken, error)

    # --- sync jobs, each on a thread -------------------------------------------------------------

    def _perform_on_thread(self, taken: Taken) -> None:
        """Perform a job, and then others for as long as there are any for a thread."""
        following: Taken | None = taken
        while following is not None:
            if self._executor.executor.is_async(following.job):
                self._start(following)
                return
            following = self._perform_one(following)

    def _perform_one(self, taken: Taken) -> Taken | None:
        work = self._interruptibles[taken.slot] = Interruptible()
        if self._stop_by is not None:
            work.interrupt(StopNow)
        try:
            outcome = self._executor.execute(taken, work, self._new_alarm(), self._loop.run)
        except KeyboardInterrupt as error:  # not Ctrl-C, which comes to the main thread
            outcome = self._executor.executor.charge(taken.job, error)
        return self._handoff.finish_and_take(taken, outcome)

    # --- async jobs, all on the thread of the loop -----------------------------------------------

    def _start_task(self, taken: Taken) -> None:
        is_shared, loop = self._loop.is_of_application, asyncio.get_running_loop()
        work = self._executor.execute_async(taken, on_shared_loop=is_shared)
        # A job may have set any task factory on the loop that is there for jobs alone.
        task = loop.create_task(work) if is_shared else asyncio.Task(work, loop=loop)
        self._tasks[task] = taken
        task.add_done_callback(partial(self._finish_task, taken))
        if self._stop_by is not None:
            task.cancel()

    def _finish_task(self, taken: Taken, task: asyncio.Task[Outcome]) -> None:
        del self._tasks[task]
        outcome = (
            self._cut_short(taken) if task.cancelled() else self._unless_stopped(task.result())
        )
        following = self._handoff.finish_and_take(taken, outcome)
        if following is None:
            return
        if self._executor.executor.is_async(following.job):
            self._start_task(following)
        else:
            self._start(following)

    def _charge_tasks(self, error: BaseException) -> None:
        """Charge all async jobs that run: the loop has failed, and another takes its place."""
        tasks, self._tasks = self._tasks, {}
        for taken in tasks.values():
            self._handoff.finish(taken, self._executor.executor.charge(taken.job, error))

    def _cut_short(self, taken: Taken) -> Outcome:
        """The outcome of a task that was cancelled before it began, or cancelled itself."""
        if self._stop_by is not None or self._loop.is_of_application:
            return Released(taken.job)
        return self._executor.executor.charge(taken.job, asyncio.CancelledError())

    def _unless_stopped(self, outcome: Outcome) -> Outcome:
        """The outcome of a job: given back if it raised because `stop_now` has cancelled it."""
        if self._stop_by is None or isinstance(outcome, Succeeded):
            return outcome
        return Released(outcome.job, outcome.run_time)

    def _cancel_task(self, taken: Taken) -> None:
        for task, whose in self._tasks.items():
            if whose is taken:
                task.cancel()

    def _cancel_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _give_back_async_jobs(self) -> None:
        """Give back the jobs that a dead loop would have performed."""
        for taken in self._handoff.taken():
            if self._executor.executor.is_async(taken.job):
                self._handoff.finish(taken, Released(taken.job))

    def _fail(self, taken: Taken, error: RuntimeError) -> None:
        self._error = error
        self._handoff.close()
        self._handoff.finish(taken, Released(taken.job))
