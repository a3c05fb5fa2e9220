"""Events of what serves jobs: the database, the threads beside a worker, HTTP, and hooks."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from jobqueue.log.emit import emit
from jobqueue.log.phrases import duration_text
from jobqueue.records import ActionRecord, JobRecord
from jobqueue.redaction import error_line, message_of, printable


def database_lost(logger: logging.Logger, worker: str, error: Exception) -> None:
    """The database does not answer a worker. It is logged once for each outage."""
    line = f"worker {worker} waits for the database: {error}"
    emit(logger, logging.WARNING, line, "database_lost", worker, error=str(error))


def claim_refused(logger: logging.Logger, worker: str, error: Exception) -> None:
    """The database refuses to have any job claimed. It is logged once, until one is claimed."""
    line = (
        f"worker {worker} can claim no job: {error}; it settles what it has, and tries again; see "
        "what refuses it (a trigger or a constraint on background_jobs)"
    )
    emit(logger, logging.ERROR, line, "claim_refused", worker, error=str(error))


def database_back(logger: logging.Logger, worker: str, after_seconds: float) -> None:
    """The database answers a worker again."""
    line = f"worker {worker}: the database is back after {after_seconds:.1f} s"
    emit(logger, logging.INFO, line, "database_back", worker)


def database_replaced(logger: logging.Logger, path: str) -> None:
    """Another SQLite file is in the place of the one that was in use."""
    line = (
        f"the database {path} was deleted or moved, and another file is in its place; what follows "
        "goes there, and jobs of the former file are not seen any more"
    )
    emit(logger, logging.WARNING, line, "database_replaced")


def database_awaited(logger: logging.Logger, error: Exception, patience_seconds: float) -> None:
    """A command waits for a database that does not answer yet, as `wait_for_database` says."""
    endless = patience_seconds == float("inf")
    how_long = "" if endless else f" for {duration_text(patience_seconds)}"
    line = f"waiting{how_long} for the database: {error}"
    emit(logger, logging.WARNING, line, "database_awaited", error=str(error))


def database_reached(logger: logging.Logger, after_seconds: float) -> None:
    """The database answers a command that has waited for it."""
    line = f"the database answers, after {duration_text(after_seconds)}"
    emit(logger, logging.INFO, line, "database_reached")


def not_listening(logger: logging.Logger, error: Exception) -> None:
    """Notifications of new jobs do not arrive. It is logged once, however long it lasts."""
    line = f"no notifications of new jobs arrive; workers look every poll_interval: {error}"
    emit(logger, logging.WARNING, line, "not_listening", error=str(error))


def listening_again(logger: logging.Logger) -> None:
    """Notifications of new jobs arrive again."""
    emit(logger, logging.INFO, "notifications of new jobs arrive again", "listening_again")


def next_job_unknown(logger: logging.Logger, error: Exception) -> None:
    """The database refused to say when the next job is due; it is asked again."""
    line = f"when the next job is due is not known; workers look every poll_interval: {error}"
    emit(logger, logging.ERROR, line, "next_job_unknown", error=str(error))


def not_announcing(logger: logging.Logger, error: Exception) -> None:
    """New jobs cannot be announced. It is logged once, however long it lasts."""
    line = f"new jobs cannot be announced; workers find them every poll_interval: {error}"
    emit(logger, logging.WARNING, line, "not_announcing", error=str(error))


def announcing_again(logger: logging.Logger) -> None:
    """New jobs can be announced again."""
    emit(logger, logging.INFO, "new jobs are announced again", "announcing_again")


def steward_troubled(logger: logging.Logger, worker: str, error: Exception) -> None:
    """The database refused to store progress, or to say which jobs to cancel."""
    line = f"worker {worker} could not store progress or ask for cancelled jobs: {error}"
    emit(logger, logging.ERROR, line, "steward_troubled", worker, error=str(error))


def service_failed(logger: logging.Logger, service: str, error: BaseException) -> None:
    """A thread of a worker or a supervisor met an unexpected error, and goes on."""
    line = f"{service} failed, and goes on: {error_line(error)}"
    what = message_of(error)
    emit(logger, logging.ERROR, line, "service_failed", traceback_of=error, error=what)


def stats_troubled(logger: logging.Logger, error: Exception) -> None:
    """The database refused the stats of attempts; those of a minute are lost."""
    line = f"what became of attempts could not be stored: {error}"
    emit(logger, logging.ERROR, line, "stats_troubled", error=str(error))


def errors_troubled(logger: logging.Logger, error: Exception) -> None:
    """The database refused the errors in groups; those of a minute are lost."""
    line = f"the errors of jobs could not be counted: {error}"
    emit(logger, logging.ERROR, line, "errors_troubled", error=str(error))


def tick_enqueued(logger: logging.Logger, schedule: str, job: JobRecord) -> None:
    """A tick of a schedule is due, and its job is enqueued."""
    line = f"schedule {schedule}: job {job.id} is enqueued for {job.run_at.isoformat()}"
    emit(logger, logging.INFO, line, "tick_enqueued", schedule=schedule, job_id=job.id)


def schedule_put_back(
    logger: logging.Logger, schedule: str, was: datetime, next_tick: datetime | None
) -> None:
    """A schedule's last tick was in the future, since the database's clock was wrong."""
    due = "it is not due again" if next_tick is None else f"it is due next {next_tick.isoformat()}"
    line = (
        f"schedule {schedule}: its last tick, {was.isoformat()}, is in the future, since the "
        f"database's clock was wrong then or is now; it goes on by the clock as it is, and {due}"
    )
    emit(logger, logging.WARNING, line, "schedule_put_back", schedule=schedule)


def schedule_not_understood(logger: logging.Logger, schedule: str, error: Exception) -> None:
    """This release or machine does not know the rule of a schedule in the database."""
    line = f"schedule {schedule} is left to others: {error}"
    emit(logger, logging.WARNING, line, "schedule_not_understood", schedule=schedule)


def schedule_locked(logger: logging.Logger, schedule: str) -> None:
    """Somebody keeps a schedule locked that is due. It is logged once until it is free."""
    line = (
        f"schedule {schedule} waits, since somebody's open transaction keeps its row in "
        "background_schedules locked; its jobs are enqueued when that transaction ends"
    )
    emit(logger, logging.WARNING, line, "schedule_locked", schedule=schedule)


def schedules_troubled(logger: logging.Logger, error: Exception) -> None:
    """The database refused what recurring jobs need; it is tried again."""
    line = f"recurring jobs could not be enqueued: {error}"
    emit(logger, logging.ERROR, line, "schedules_troubled", error=str(error))


def jobs_pruned(logger: logging.Logger, number: int) -> None:
    """Finished jobs were removed, as their retention says. It is logged at level debug."""
    jobs = "1 finished job was" if number == 1 else f"{number:,} finished jobs were"
    emit(logger, logging.DEBUG, f"{jobs} removed as `keep_…` says", "jobs_pruned")


def pruning_troubled(logger: logging.Logger, error: Exception) -> None:
    """The database refused to remove finished jobs; it is tried again."""
    line = f"finished jobs could not be removed: {error}"
    emit(logger, logging.ERROR, line, "pruning_troubled", error=str(error))


def samples_troubled(logger: logging.Logger, error: Exception) -> None:
    """The database refused to count or to store the depths of queues; it is tried again."""
    line = f"the depths of queues could not be sampled: {error}"
    emit(logger, logging.ERROR, line, "samples_troubled", error=str(error))


def requests_troubled(logger: logging.Logger, error: Exception) -> None:
    """The database refused to be asked what operators want of workers; it is tried again."""
    line = f"pauses and questions for stacks could not be looked for: {error}"
    emit(logger, logging.ERROR, line, "requests_troubled", error=str(error))


def stacks_troubled(logger: logging.Logger, worker: str, error: Exception) -> None:
    """The database refused the stacks of a worker; it is tried again."""
    line = f"worker {worker} could not store its stacks: {error}"
    emit(logger, logging.ERROR, line, "stacks_troubled", worker, error=str(error))


def bulk_actions_troubled(logger: logging.Logger, error: Exception) -> None:
    """A bulk action could not be looked for, or not go on; it is tried again."""
    line = f"a bulk action could not go on: {error}"
    emit(logger, logging.ERROR, line, "bulk_actions_troubled", error=str(error))


def flows_troubled(logger: logging.Logger, error: Exception) -> None:
    """Flows could not be looked through; it is tried again."""
    line = f"flows could not be looked through: {error}"
    emit(logger, logging.ERROR, line, "flows_troubled", error=str(error))


def bulk_action_taken_over(logger: logging.Logger, worker: str, action: ActionRecord) -> None:
    """A worker goes on with a bulk action that nobody runs any more, or that was left to it."""
    line = f"worker {worker} goes on with action {action.id}: {_said(action)}"
    emit(logger, logging.INFO, line, "bulk_action_taken_over", worker, action_id=action.id)


def bulk_action_ended(logger: logging.Logger, worker: str, action: ActionRecord) -> None:
    """A bulk action that a worker went on with is done, or somebody has stopped it."""
    line = f"action {action.id} is {action.state}: {_said(action)}, {action.number:,} jobs"
    facts: dict[str, Any] = {
        "action_id": action.id,
        "jobs": action.number,
        "state": action.state.value,
    }
    emit(logger, logging.INFO, line, "bulk_action_ended", worker, **facts)


def _said(action: ActionRecord) -> str:
    return printable(f"{action.kind} by {action.done_by}")


def queues_resumed(logger: logging.Logger, queues: Iterable[str]) -> None:
    """Queues were paused until a time, which has come."""
    for queue in sorted(queues):
        line = f"queue {queue} is resumed, since the time until which it was paused has come"
        emit(logger, logging.INFO, line, "queue_resumed", queue=queue)


def changed_from_outside(
    logger: logging.Logger, who: str, action: str, what: str, job_id: int | None = None
) -> None:
    """Somebody changed something over HTTP."""
    line = f"{who}: {action} {what}"
    facts: dict[str, Any] = {"who": who, "action": action}
    if job_id is not None:
        facts["job_id"] = job_id
    emit(logger, logging.INFO, line, "changed_from_outside", **facts)


def request_crashed(logger: logging.Logger, method: str, path: str, error: Exception) -> None:
    """A request failed by an error that is not the caller's; its traceback is logged too."""
    line = printable(f"{method} {path} failed: {type(error).__name__}: {error}")
    emit(logger, logging.ERROR, line, "request_crashed", traceback_of=error, error=str(error))


def request_unanswered(logger: logging.Logger, method: str, path: str, error: Exception) -> None:
    """A request failed because the database does not answer."""
    line = f"{method} {printable(path)} was not answered: {error}"
    emit(logger, logging.WARNING, line, "request_unanswered", error=str(error))


def connections_refused(logger: logging.Logger, most: int) -> None:
    """Connections are closed since there are too many; it is logged once a minute at most."""
    line = f"there are {most:,} connections, and further ones are closed; is a proxy in front?"
    emit(logger, logging.WARNING, line, "connections_refused")


def hook_failed(logger: logging.Logger, hook: object, error: BaseException) -> None:
    """A hook raised an error, which changes nothing for its job; its traceback is logged too."""
    name = getattr(hook, "__qualname__", type(hook).__qualname__)
    what = error_line(error)
    line = f"the hook {name} failed: {what}"
    emit(logger, logging.ERROR, line, "hook_failed", traceback_of=error, error=what)


def meta_refused(logger: logging.Logger, handler: str, error: Exception) -> None:
    """Hooks have added to the meta of a new job what cannot be stored; it is stored without."""
    line = f"{handler} is stored without the meta that hooks have added: {error}"
    emit(logger, logging.ERROR, line, "meta_refused", error=str(error))


def hooks_troubled(logger: logging.Logger, error: Exception) -> None:
    """Hooks were not called for jobs that were freed, since the call or a read failed."""
    line = f"the hooks are not told of the jobs that were freed: {error}"
    emit(logger, logging.ERROR, line, "hooks_troubled", error=str(error))
