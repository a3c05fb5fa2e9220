"""`jobqueue doctor`: it shows what is set up, what is not, and what to do about it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import typer

from jobqueue.adapters import Adapter
from jobqueue.cli.errors import NO_DATABASE, WRONG_USAGE, as_typed, one_line
from jobqueue.cli.options import App, AsJson, DatabaseUrl, Schema
from jobqueue.cli.output import compact_json, counted, print_json, print_pairs
from jobqueue.cli.session import Session, opened
from jobqueue.config import (
    ENVIRONMENT_PREFIX,
    Settings,
    config_file,
    hide_password,
    load_worker_groups,
)
from jobqueue.durations import duration, from_now
from jobqueue.errors import ConfigurationError, DatabaseError
from jobqueue.job import registry
from jobqueue.records import Ailment, Health, JobFilter, JobState, WorkerRecord
from jobqueue.runner.groups import AS_CONFIGURED, WorkerGroup, groups_of
from jobqueue.views.database import is_current, schema_problem
from jobqueue.views.queues import UnattendedQueue, unattended_queues
from jobqueue.views.workers import living_among


@dataclass(slots=True)
class Findings:
    """The result of an examination.

    `problems` have to be mended, `warnings` may be intended, `advice` is what to do next.
    """

    settings: dict[str, dict[str, Any]]
    app: dict[str, Any]
    database: dict[str, Any]
    schema: dict[str, Any] = field(default_factory=dict)
    groups: list[WorkerGroup] = field(default_factory=list)
    now: datetime | None = None
    workers: list[WorkerRecord] = field(default_factory=list)
    living: list[WorkerRecord] = field(default_factory=list)
    queue: dict[str, int] = field(default_factory=dict)
    health: Health = field(default_factory=Health)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    exit_code: int = 0


def doctor(
    app: App = None,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    json_: AsJson = False,
) -> None:
    """Show what is set up, and what to mend.

    On PostgreSQL it also shows what slows a queue down: old snapshots and who holds them, sessions
    idle in a transaction, replication slots that nobody reads, prepared transactions, dead rows,
    autovacuum, and invalid or missing indexes; each with the command that mends it.

    It shows rows that somebody wrote by hand and that cannot be right, and what to do about them.

    It warns of queues with due jobs that no living worker takes, and shows the configured groups.

    It exits with 0 when everything is there (workers need not be), with 2 when the configuration or
    the application is wrong, with 3 when the database or its tables are not there.

    \b
    Examples:
      jobs doctor
      jobs doctor --json
      jobs doctor --database-url postgresql://localhost/shop
    """
    options = {"app": app, "database_url": database_url, "schema": schema}
    with opened(options) as session:
        findings = _examine(session, options)
    if json_:
        print_json(_as_json(findings))
    else:
        _print(findings)
    if findings.exit_code:
        raise typer.Exit(findings.exit_code)


def _examine(session: Session, options: Mapping[str, Any]) -> Findings:
    findings = Findings(
        settings=_settings(session.settings, options),
        app={"modules": list(session.modules), "jobs": registry.names()},
        database={"url": hide_password(session.settings.database_url), "answers": False},
    )
    _examine_groups(session.settings, findings)
    try:
        _examine_database(session.adapter, findings)
    except DatabaseError as error:
        findings.problems.append(one_line(str(error)))
        findings.exit_code = NO_DATABASE
    _examine_app(session, findings)
    return findings


# --- settings ------------------------------------------------------------------------------------


def _settings(settings: Settings, options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    in_file = _names_in_file(Path.cwd())
    return {
        setting.name: {
            "value": _shown(setting.name, getattr(settings, setting.name)),
            "source": _source(setting.name, getattr(settings, setting.name), options, in_file),
        }
        for setting in fields(Settings)
    }


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return hide_password(value) if name.endswith("_url") and value else value


def _source(name: str, value: Any, options: Mapping[str, Any], in_file: Mapping[str, str]) -> str:
    variables = [ENVIRONMENT_PREFIX + name.upper()]
    if name == "database_url":
        variables.append("DATABASE_URL")
    if options.get(name) is not None:
        return "--" + name.replace("_", "-")
    for variable in variables:
        if variable in os.environ:
            return variable
    if name in in_file:
        return in_file[name]
    default = next(setting.default for setting in fields(Settings) if setting.name == name)
    return "default" if value == default else "code"


def _names_in_file(folder: Path) -> dict[str, str]:
    path = config_file(folder)
    if path is None:
        return {}
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    section = table["tool"]["jobqueue"] if path.name == "pyproject.toml" else table
    return dict.fromkeys(section, path.name)


# --- the application and the database ------------------------------------------------------------


def _examine_app(session: Session, findings: Findings) -> None:
    if session.app_error is not None:
        findings.problems.insert(0, one_line(str(session.app_error)))
        findings.exit_code = WRONG_USAGE
    elif not findings.app["jobs"]:
        findings.advice.append(
            "there are no jobs yet: `jobqueue new MyJob` writes one; or set `app` to where they are"
        )


def _examine_groups(settings: Settings, findings: Findings) -> None:
    """Check the groups of the file, if it has any."""
    try:
        findings.groups = list(groups_of(AS_CONFIGURED, settings)) if load_worker_groups() else []
    except ConfigurationError as error:
        findings.problems.append(one_line(str(error)))
        findings.exit_code = WRONG_USAGE


def _examine_database(adapter: Adapter, findings: Findings) -> None:
    status = adapter.schema_status()
    findings.database |= {"answers": True, "server": status.server}
    findings.schema = {
        "name": status.schema,
        "current": status.current,
        "head": status.head,
        "is_current": is_current(status),
    }
    problem = schema_problem(status)
    if problem is not None:
        findings.problems.append(as_typed(problem))
        findings.exit_code = NO_DATABASE
        return
    if not is_current(status):
        findings.advice.append(
            "the tables are not from `jobqueue migrate`: whoever made them has to see to it that "
            f"they are those of revision {status.head}"
        )
    findings.workers, findings.now = adapter.workers(), adapter.now()
    findings.living = living_among(adapter, findings.workers, findings.now)
    findings.queue = _depth(adapter)
    findings.health = adapter.health()
    _examine_queues(adapter, findings)
    if findings.queue["failed"]:
        findings.advice.append(as_typed("some jobs failed: see `jobqueue list --state failed`"))


def _examine_queues(adapter: Adapter, findings: Findings) -> None:
    unattended = unattended_queues(adapter.queue_depths(), findings.living, findings.groups)
    has_groups = bool(findings.groups)
    findings.warnings += [as_typed(_warning_of(q, has_groups=has_groups)) for q in unattended]
    if unattended and not findings.living:
        findings.advice.append(
            as_typed("jobs are due and no worker runs: `jobqueue work` performs them")
        )


def _warning_of(queue: UnattendedQueue, *, has_groups: bool) -> str:
    """Return what is wrong with a queue, and what to do about it."""
    verb = "is" if queue.due == 1 else "are"
    due = f"{counted(queue.due, 'job')} {verb} due in queue {queue.name}"
    warning = f"{due}, and no living worker takes from it"
    if queue.groups:
        return f"{warning}: `jobqueue work` runs {_listed(queue.groups)}, which would"
    if has_groups:
        return f"{warning}, nor would one of a configured group: add it to the `queues` of one"
    return f"{warning}: `jobqueue work -n {queue.name}:1` would"


def _listed(groups: Sequence[str]) -> str:
    return f"group {groups[0]}" if len(groups) == 1 else f"groups {', '.join(groups)}"


def _depth(adapter: Adapter) -> dict[str, int]:
    ready = (JobState.READY,)
    counts = adapter.count_by_state()
    return {
        "due": adapter.count_jobs(JobFilter(states=ready, due=True)),
        "waiting": adapter.count_jobs(JobFilter(states=ready, due=False)),
        **{state.value: counts.get(state, 0) for state in JobState if state not in ready},
    }


# --- printed ------------------------------------------------------------------------------------


def _as_json(findings: Findings) -> dict[str, Any]:
    left_out = {"exit_code", "now"}
    values = {f.name: getattr(findings, f.name) for f in fields(findings) if f.name not in left_out}
    shown = [f.name for f in fields(WorkerRecord) if f.name not in {"process", "note"}]
    values["workers"] = [
        {**{name: getattr(worker, name) for name in shown}, "lost": worker not in findings.living}
        for worker in findings.workers
    ]
    del values["living"]
    values["groups"] = [
        {"name": g.name, "queues": g.queues, "count": g.count, "concurrency": g.concurrency}
        for g in findings.groups
    ]
    values["health"] = {
        **findings.health.facts,
        "ailments": [asdict(ailment) for ailment in findings.health.ailments],
    }
    return {"ok": findings.exit_code == 0, **values}


def _print(findings: Findings) -> None:
    _print_section("Settings", [(n, _setting_line(s)) for n, s in findings.settings.items()])
    _print_section("Application", _app_pairs(findings))
    _print_section("Database", _database_pairs(findings))
    if findings.groups:
        _print_section("Groups", [(group.name, _group_line(group)) for group in findings.groups])
    for title, lines in (
        ("Problems", findings.problems),
        ("Warnings", findings.warnings),
        ("Advice", findings.advice),
    ):
        if lines:
            typer.echo("\n".join([title, *(f"  - {one_line(line)}" for line in lines), ""]))
    _print_ailments(findings.health.ailments)
    typer.echo(_verdict(findings))


def _print_ailments(ailments: Sequence[Ailment]) -> None:
    if not ailments:
        return
    typer.echo("What hurts the queue, and what to do about it")
    for ailment in ailments:
        typer.echo(f"  - {one_line(ailment.what)}\n    {one_line(ailment.remedy)}")
    typer.echo("")


def _verdict(findings: Findings) -> str:
    if findings.exit_code:
        return "Not all is well."
    # Having no worker at all is no fault: it is so before the first one starts.
    is_better = findings.health.ailments or (findings.warnings and findings.living)
    return "It works, and could be better." if is_better else "All is well."


def _print_section(title: str, pairs: list[tuple[str, str]]) -> None:
    typer.echo(title)
    print_pairs([(f"  {name}", one_line(value)) for name, value in pairs])
    typer.echo("")


def _setting_line(setting: Mapping[str, Any]) -> str:
    value = setting["value"]
    shown = "-" if value is None else value if isinstance(value, str) else compact_json(value)
    return f"{shown}  ({setting['source']})"


def _group_line(group: WorkerGroup) -> str:
    queues = "all queues" if group.queues is None else f"queues {', '.join(group.queues)}"
    several = (
        "" if group.concurrency is None else f", {counted(group.concurrency, 'job')} at a time"
    )
    return f"{counted(group.count, 'worker')} on {queues}{several}"


def _app_pairs(findings: Findings) -> list[tuple[str, str]]:
    return [
        ("modules", ", ".join(findings.app["modules"]) or "none"),
        ("jobs", ", ".join(findings.app["jobs"]) or "none"),
    ]


def _database_pairs(findings: Findings) -> list[tuple[str, str]]:
    if not findings.database["answers"]:
        return [("answers", "no")]
    schema = findings.schema
    state = "incomplete" if schema["current"] == schema["head"] else f"not {schema['head']}"
    state = "current" if schema["is_current"] else state
    place = f" in the schema {schema['name']}" if schema["name"] else ""
    pairs = [
        ("answers", f"yes ({findings.database['server']})"),
        ("tables", f"{schema['current'] or 'no revision'} ({state}){place}"),
    ]
    if findings.now is None:
        return pairs
    depth = ", ".join(f"{number:,} {state}" for state, number in findings.queue.items())
    pairs += [("jobs", depth), ("workers", _workers_line(findings, findings.now))]
    return [*pairs, *_health_pairs(findings.health.facts, findings.now)]


def _health_pairs(facts: Mapping[str, Any], now: datetime) -> list[tuple[str, str]]:
    if "bytes" in facts and "live_rows" not in facts:
        free = facts["free_bytes"]
        return [("file", f"{facts['bytes']:,} bytes, of which {free:,} are free")]
    if not facts:
        return []
    vacuumed, oldest = facts["last_autovacuum"], facts["oldest_snapshot"]
    when = "never" if vacuumed is None else from_now(vacuumed, now)
    rows = f"{facts['live_rows']:,} live, {facts['dead_rows']:,} dead; last autovacuum: {when}"
    holder = "none" if oldest is None else f"{duration(oldest['seconds'])}, {oldest['held_by']}"
    return [("rows", rows), ("oldest snapshot", holder)]


def _workers_line(findings: Findings, now: datetime) -> str:
    if not findings.workers:
        return "none"
    beats = ", ".join(
        f"{worker.id} on {'*' if worker.queues is None else '+'.join(worker.queues)} "
        f"({'' if worker in findings.living else 'lost, '}"
        f"heard of {from_now(worker.heartbeat_at, now)})"
        for worker in findings.workers
    )
    return f"{counted(len(findings.workers), 'worker')}: {beats}"
