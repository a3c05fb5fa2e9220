"""Events of workers and supervisors."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from jobqueue.log.emit import emit
from jobqueue.log.phrases import duration_text
from jobqueue.records import Rescue
from jobqueue.redaction import error_line, message_of

MOST_JOBS_IN_A_LINE = 10


def worker_started(
    logger: logging.Logger, worker: str, pid: int, release: str | None = None
) -> None:
    """A worker has been started, in the process with this pid; the release is the application's."""
    line, facts = f"worker {worker} started, pid {pid}", dict[str, Any]()
    if release is not None:
        line, facts = f"{line}, release {release}", {"release": release}
    emit(logger, logging.INFO, line, "worker_started", worker, **facts)


def worker_ready(logger: logging.Logger, worker: str, queues: tuple[str, ...] | None) -> None:
    """A worker is about to claim its first jobs."""
    listed = "all queues" if queues is None else "queues " + ", ".join(queues)
    emit(logger, logging.INFO, f"worker {worker} works on {listed}", "worker_ready", worker)


def worker_stopping(logger: logging.Logger, worker: str, why: str) -> None:
    """A worker was told to stop, or has nothing left to do."""
    emit(logger, logging.INFO, f"worker {worker} is stopping: {why}", "worker_stopping", worker)


def worker_stopped(logger: logging.Logger, worker: str, performed: int) -> None:
    """A worker has ended as it should."""
    jobs = "1 job" if performed == 1 else f"{performed:,} jobs"
    line = f"worker {worker} stopped after {jobs}"
    emit(logger, logging.INFO, line, "worker_stopped", worker)


def worker_failed(logger: logging.Logger, worker: str, error: Exception) -> None:
    """A worker cannot work, and ends."""
    line = f"worker {worker} cannot work and ends: {error}"
    emit(logger, logging.ERROR, line, "worker_failed", worker, error=str(error))


def worker_died(logger: logging.Logger, worker: str, pid: int, how: str, pause: float) -> None:
    """A worker process ended without having been asked to."""
    again = "at once" if pause == 0 else f"in {duration_text(pause)}"
    line = f"worker {worker} (pid {pid}) died ({how}); another is started {again}"
    emit(logger, logging.ERROR, line, "worker_died", worker)


def worker_ended(logger: logging.Logger, worker: str, error: BaseException) -> None:
    """A worker in the application's own process ended by an error, and is not replaced."""
    line = (
        f"worker {worker} in this process ended, and performs nothing any more: {error_line(error)}"
    )
    emit(logger, logging.ERROR, line, "worker_died", worker, error=message_of(error))


def worker_killed(logger: logging.Logger, worker: str, pid: int, why: str) -> None:
    """A supervisor killed a worker process."""
    line = f"worker {worker} (pid {pid}) was killed: {why}"
    emit(logger, logging.ERROR, line, "worker_killed", worker)


def worker_not_started(logger: logging.Logger, worker: str, error: Exception, pause: float) -> None:
    """The system did not let a worker process start; it is tried again."""
    line = f"worker {worker} could not be started: {error}; tried again in {duration_text(pause)}"
    emit(logger, logging.ERROR, line, "worker_not_started", worker, error=str(error))


def worker_replaced(logger: logging.Logger, worker: str, why: str) -> None:
    """A worker finishes what it performs while another takes its place."""
    line = f"worker {worker} is replaced: {why}"
    emit(logger, logging.INFO, line, "worker_replaced", worker)


def wakeups_lost(logger: logging.Logger, worker: str, error: Exception) -> None:
    """A supervisor cannot wake a worker any more. The worker polls until it is replaced."""
    line = (
        f"worker {worker} looks for jobs every poll_interval until it is replaced, as nothing "
        f"reaches it from its supervisor any more: {error}"
    )
    emit(logger, logging.WARNING, line, "wakeups_lost", worker, error=str(error))


def restart_failed(logger: logging.Logger, worker: str, how: str) -> None:
    """A new worker ended before it was ready; the old one goes on."""
    line = f"the new worker {worker} ended before it was ready ({how}); the old one goes on"
    emit(logger, logging.ERROR, line, "restart_failed", worker)


def restart_refused(logger: logging.Logger, error: Exception) -> None:
    """A rolling restart did not begin, since the configuration cannot be used."""
    line = f"the workers are not replaced, the old ones go on: {error}"
    emit(logger, logging.ERROR, line, "restart_refused", error=str(error))


def supervisor_troubled(logger: logging.Logger, step: str, error: Exception, pause: float) -> None:
    """A supervisor could not do a part of its work; it goes on, and tries that again."""
    line = (
        f"the supervisor could not {step}, and goes on: {type(error).__name__}: {error}; it tries "
        f"again in {duration_text(pause)}, and says no more of it until that succeeds"
    )
    event = "supervisor_troubled"
    emit(logger, logging.ERROR, line, event, traceback_of=error, error=str(error))


def supervisor_stopping(logger: logging.Logger, why: str) -> None:
    """A supervisor was told to stop its workers."""
    line = f"the supervisor is stopping: {why}"
    emit(logger, logging.INFO, line, "supervisor_stopping")


def supervisor_resting(logger: logging.Logger, until: str, *, suspended: bool) -> None:
    """The workers of a supervisor claim no more jobs for now.

    Args:
        logger: where to.
        until: what lets them claim again.
        suspended: whether Ctrl-Z also stops the supervisor itself.
    """
    line = f"the workers take no more jobs until {until}, and finish what runs"
    if suspended:
        line = f"suspended by Ctrl-Z: {line}"
    event = "supervisor_suspended" if suspended else "supervisor_resting"
    emit(logger, logging.INFO, line, event)


def supervisor_going_on(logger: logging.Logger) -> None:
    """The workers of a supervisor claim jobs again."""
    line = "the supervisor goes on: the workers take jobs again"
    emit(logger, logging.INFO, line, "supervisor_going_on")


def lease_lost(logger: logging.Logger, worker: str) -> None:
    """A worker was silent for so long that its jobs were freed; it registers anew."""
    line = f"worker {worker} was silent for longer than its lease; it registers anew"
    emit(logger, logging.WARNING, line, "lease_lost", worker)


def lease_troubled(logger: logging.Logger, worker: str, error: Exception) -> None:
    """The database refused a heartbeat; it is tried again."""
    line = f"worker {worker} could not renew its lease: {error}"
    emit(logger, logging.ERROR, line, "lease_troubled", worker, error=str(error))


def rescue_troubled(logger: logging.Logger, worker: str, error: Exception) -> None:
    """The database refused to free the jobs of a worker that is gone; it is tried again."""
    line = f"worker {worker} could not free the jobs of workers that are gone: {error}"
    emit(logger, logging.ERROR, line, "rescue_troubled", worker, error=str(error))


def rescue_refused(logger: logging.Logger, rescue: Rescue) -> None:
    """The database refuses to free some jobs of a lost worker. It is logged once for each."""
    job_ids = [job_id for job_id, _ in rescue.refused]
    error = rescue.refused[0][1]
    line = (
        f"worker {rescue.worker_id} is gone, and its jobs {_listed(job_ids)} are not freed: "
        f"{error}; mend what refuses it (a trigger, a constraint); they are tried again"
    )
    worker = rescue.worker_id
    emit(logger, logging.ERROR, line, "rescue_refused", worker, job_ids=job_ids, error=error)


def rescue_waits(logger: logging.Logger, rescue: Rescue) -> None:
    """Somebody keeps rows of a lost worker locked. It is logged once for each of them."""
    rows = [f"of its jobs {_listed(rescue.locked)}"] if rescue.locked else []
    rows += ["of the worker itself"] if rescue.worker_is_locked else []
    line = (
        f"worker {rescue.worker_id} is gone, and somebody's open transaction keeps the rows "
        f"{' and '.join(rows)} locked; they are looked at again until that transaction ends"
    )
    job_ids = list(rescue.locked)
    emit(logger, logging.WARNING, line, "rescue_waits", rescue.worker_id, job_ids=job_ids)


def _listed(job_ids: Sequence[int]) -> str:
    jobs = ", ".join(f"#{job_id}" for job_id in job_ids[:MOST_JOBS_IN_A_LINE])
    more = len(job_ids) - MOST_JOBS_IN_A_LINE
    return jobs + (f" and {more} more" if more > 0 else "")
