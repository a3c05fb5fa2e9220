"""The page that says first what is wrong, and the forms that mend it from there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from jobqueue.adapters import Adapter
from jobqueue.records import WorkerStacks
from jobqueue.views.overview import outlook_texts, overview_of
from jobqueue.views.troubles import Trouble, TroubleKind
from jobqueue.web import error_groups as api_errors
from jobqueue.web import jobs as api_jobs
from jobqueue.web import models
from jobqueue.web import queues as api_queues
from jobqueue.web import schedules as api_schedules
from jobqueue.web import workers as api_workers
from jobqueue.web.dashboard.charts import bar_chart, by_minute
from jobqueue.web.dashboard.rows import DashboardPage, FormAction, Shown
from jobqueue.web.operations import ApiCall

MOST_COUNTED = 10_000
SPARK = (120.0, 24.0)
WIDE = (600.0, 80.0)


def now_page(call: ApiCall) -> Shown:
    """Return what is wrong, and the rest at one glance."""
    overview = overview_of(call.adapter, MOST_COUNTED)
    ended = {minute: stat.attempts for minute, stat in overview.minutes.items()}
    return {
        "now": overview.now,
        "overview": overview,
        "stacks": _stacks_of_stuck(call.adapter, overview.troubles),
        "outlook_texts": outlook_texts(overview.queues, overview.now),
        "ended": bar_chart(by_minute(ended, overview.now, 60), *WIDE),
        "sparks": {e.record.key: bar_chart(e.hours, *SPARK) for e in overview.errors},
    }


def _stacks_of_stuck(adapter: Adapter, troubles: Iterable[Trouble]) -> dict[str, WorkerStacks]:
    """What the workers of stuck jobs last said of where they are, by the ids of the jobs.

    Few jobs are named as stuck, so that few workers are looked up.
    """
    found: dict[str, WorkerStacks] = {}
    for trouble in troubles:
        if trouble.kind is TroubleKind.STUCK_JOB and trouble.worker_id is not None:
            stacks = adapter.stacks_of(trouble.worker_id)
            if stacks is not None:
                found[trouble.target] = stacks
    return found


def run_schedule(call: ApiCall) -> None:
    """Enqueue a recurring job now, beside its schedule.

    The query string names it: a name may have any characters, and a path has not.
    """
    asked = call.request.query_params
    query = models.ScheduleQuery(app=asked.get("app", ""))
    api_schedules.run(replace(call, path={"schedule": asked.get("name", "")}, query=query))


PAGES = (DashboardPage("/", "Now", "now.html", now_page),)
FORM_ACTIONS = (
    FormAction(
        "/now/queues/{name}/resume",
        api_queues.resume,
        "The queue {name} is resumed.",
        "/",
        models.ReasonBody,
    ),
    FormAction(
        "/now/workers/{id}/stacks",
        api_workers.ask_for_stacks,
        "The worker is asked where it is. It answers within a few seconds, and this page shows it.",
        "/",
    ),
    FormAction(
        "/now/jobs/{id:job_id}/cancel",
        api_jobs.cancel,
        "Job {id} is cancelled, or asked to end if it runs.",
        "/",
        models.CancelBody,
    ),
    FormAction(
        "/now/errors/{key}/mute",
        api_errors.mute,
        "The errors {key} are muted.",
        "/",
        models.ReasonBody,
    ),
    FormAction(
        "/now/schedules/run",
        run_schedule,
        "The schedule has a job that is due now.",
        "/",
        models.ReasonBody,
    ),
)
"""What Now offers beside each trouble; whoever mends one from there comes back there."""
