"""The options that commands share. Every setting has an option of the same name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from jobqueue.config import BOOLEAN, Settings, setting_names

WAIT = "--wait-for-database"
SECONDS = r"\d+(\.\d*)?|true|false"


def setting_option(name: str, metavar: str | None = None) -> Any:
    """Return the option of a setting, with the setting's help."""
    setting = next(field for field in fields(Settings) if field.name == name)
    flag = "--" + name.replace("_", "-")
    if setting.metadata["kind"] is BOOLEAN:
        flag = f"{flag}/--no-{flag.removeprefix('--')}"
    return typer.Option(flag, help=setting.metadata["help"], metavar=metavar, show_default=False)


def as_typed_values(arguments: list[str]) -> list[str]:
    """Return arguments with a value for `--wait-for-database`, if it has none.

    Alone it means to wait as long as it takes.
    """
    typed: list[str] = []
    for argument in arguments:
        if typed and typed[-1] == WAIT and re.fullmatch(SECONDS, argument):
            typed[-1] = f"{WAIT}={argument}"
        else:
            typed.append(argument)
    return [f"{WAIT}=true" if argument == WAIT else argument for argument in typed]


class StartsWorkers(TyperCommand):
    """A command with the option `--wait-for-database[=SECONDS]`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; that option needs no value."""
        return super().parse_args(ctx, as_typed_values(args))


DatabaseUrl = Annotated[str | None, setting_option("database_url", "URL")]
Schema = Annotated[str | None, setting_option("schema", "NAME")]
WaitForDatabase = Annotated[str | None, setting_option("wait_for_database", "[=SECONDS]")]
App = Annotated[str | None, setting_option("app", "MODULE")]
Reason = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why; others are shown it.")
]
Queues = Annotated[str | None, setting_option("queues", "NAMES")]
PollInterval = Annotated[str | None, setting_option("poll_interval", "SECONDS")]
Listen = Annotated[bool | None, setting_option("listen")]
ListenUrl = Annotated[str | None, setting_option("listen_url", "URL")]
Lease = Annotated[str | None, setting_option("lease", "SECONDS")]
Concurrency = Annotated[str | None, setting_option("concurrency", "NUMBER")]
Grace = Annotated[str | None, setting_option("grace", "SECONDS")]
BootTimeout = Annotated[str | None, setting_option("boot_timeout", "SECONDS")]
KillAfter = Annotated[str | None, setting_option("kill_after", "SECONDS")]
MaxRuntime = Annotated[str | None, setting_option("max_runtime", "SECONDS")]
MaxAttempts = Annotated[str | None, setting_option("max_attempts", "NUMBER")]
KeepSucceeded = Annotated[str | None, setting_option("keep_succeeded", "KEEP")]
KeepFailed = Annotated[str | None, setting_option("keep_failed", "KEEP")]
KeepAttempts = Annotated[str | None, setting_option("keep_attempts", "AGE")]
KeepFlows = Annotated[str | None, setting_option("keep_flows", "AGE")]
KeepErrors = Annotated[str | None, setting_option("keep_errors", "AGE")]
KeepStats = Annotated[str | None, setting_option("keep_stats", "AGE")]
KeepSamples = Annotated[str | None, setting_option("keep_samples", "AGE")]
KeepActions = Annotated[str | None, setting_option("keep_actions", "AGE")]
KeepWorkers = Annotated[str | None, setting_option("keep_workers", "SECONDS")]
AppVersion = Annotated[str | None, setting_option("app_version", "TEXT")]
LogLevel = Annotated[str | None, setting_option("log_level", "LEVEL")]
LogFormat = Annotated[str | None, setting_option("log_format", "FORMAT")]


def settings_among(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those parameters of a command that are settings, by their names."""
    return {name: values[name] for name in setting_names() if name in values}


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
OnlyQueues = Annotated[
    list[str] | None,
    typer.Option(
        "--queue", metavar="NAME", help="Only these queues; commas, or the option again, for more."
    ),
]
Query = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[QUERY]", help="Words that a job has to match: 'state:failed since:2h'."
    ),
]
ByQuery = Annotated[
    list[str] | None,
    typer.Option("--query", metavar="QUERY", help="Those that match, as `jobqueue list` takes it."),
]
OnlyStates = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="STATE",
        help="Only these states: ready, gated, running, succeeded, failed, cancelled.",
    ),
]
OnlyHandlers = Annotated[
    list[str] | None,
    typer.Option(
        "--job",
        "--handler",
        metavar="NAME",
        help="Only jobs of this name, or the end of it; commas, or the option again, for more.",
    ),
]
