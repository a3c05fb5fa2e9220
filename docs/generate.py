"""Writes `docs/reference.md` from the code itself: commands, settings and public names.

    make docs

A test fails when the page is not what this would write.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

import jobqueue
import jobqueue.web
from jobqueue.cli import app
from jobqueue.config import ENVIRONMENT_PREFIX, Settings

PAGE = Path(__file__).with_name("reference.md")

HEAD = """\
# Reference

Made from the code by `make docs`.

The command is called `jobs`. bash, zsh and sh have a builtin of that name, which comes first when
you type it; `jobqueue` is the same command by another name, and so is `python -m jobqueue`. Where
no shell is between (systemd, a container's `ENTRYPOINT`, `subprocess`), `jobs` is found.

Every command prints `--help` with examples. Exit codes: 0 done, 1 the work failed, 2 wrong usage or
arguments, 3 no database, or its tables are missing.
"""

SETTINGS_HEAD = """
## Settings

An option comes before the environment, the environment before `jobqueue.toml` or `[tool.jobqueue]`
in `pyproject.toml`, and these before the default. A setting has one name in all of them:
`poll_interval` in a file, `JOBS_POLL_INTERVAL` in the environment, `--poll-interval` where a
command takes it. Durations are seconds.

| setting | default | expected | |
|---|---|---|---|
"""

NAMES_HEAD = """
## Names

What `import jobqueue` offers.
"""

WEB_HEAD = """
## Names of the REST API

What `import jobqueue.web` offers; [The REST API](api.md) is about it.
"""


def page() -> str:
    """The whole page."""
    parts = [
        HEAD,
        *commands(),
        SETTINGS_HEAD.rstrip("\n") + "\n",
        *settings(),
        NAMES_HEAD,
        *names(jobqueue),
        WEB_HEAD,
        *names(jobqueue.web),
    ]
    return "".join(parts)


def commands() -> Iterator[str]:
    """A section for each command."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("jobs", [], resilient_parsing=True)
    for name in group.list_commands(context):
        yield from command_and_its_own(name, group.get_command(context, name))


def command_and_its_own(name: str, command: Any) -> Iterator[str]:
    """The section of a command, and those of the commands that it has itself."""
    yield from command_section(name, command)
    for own, inner in getattr(command, "commands", {}).items():
        yield from command_section(f"{name} {own}", inner)


def command_section(name: str, command: Any) -> Iterator[str]:
    """The section of one command: its usage, its help with examples, a table of its options."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join(usage_of(argument) for argument in arguments)
    yield f"\n## `jobs {name}{' ' + usage if usage else ''}`\n\n"
    yield prose(command.help)
    rows = [row(parameter) for parameter in command.params if parameter.help]
    if rows:
        yield "\n| | |\n|---|---|\n" + "".join(rows)


def usage_of(argument: Any) -> str:
    """An argument as a usage line has it."""
    name = (argument.metavar or argument.name).upper() + ("…" if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def prose(text: str) -> str:
    """A docstring as Markdown: its examples become a block of code."""
    cleaned = textwrap.dedent(text.replace("\b", "")).strip()
    before, _, examples = cleaned.partition("Examples:\n")
    block = f"\n```text\n{textwrap.dedent(examples).rstrip()}\n```\n" if examples else ""
    return re.sub(r"\n{3,}", "\n\n", before.strip()) + "\n" + block


def row(parameter: Any) -> str:
    """A row of a table of options."""
    if parameter.param_type_name == "argument":
        shown = (parameter.metavar or parameter.name).upper()
    else:
        takes_value = not parameter.is_flag
        shown = ", ".join(parameter.opts) + (f" {parameter.metavar}" if takes_value else "")
    return f"| `{shown}` | {parameter.help} |\n"


def settings() -> Iterator[str]:
    """A row for each setting."""
    for setting in dataclasses.fields(Settings):
        kind, text = setting.metadata["kind"], setting.metadata["help"]
        variable = ENVIRONMENT_PREFIX + setting.name.upper()
        yield (
            f"| `{setting.name}`<br>`{variable}` | {shown_default(setting.default)} "
            f"| {kind.expected} | {text} |\n"
        )


def shown_default(value: Any) -> str:
    """A default as one would write it."""
    if value is None:
        return "none"
    if isinstance(value, timedelta) and value and not value % timedelta(days=1):
        return f"`{value.days}d`"
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}"
    return str(value).lower() if isinstance(value, bool) else f"`{value}`"


def names(module: Any) -> Iterator[str]:
    """A section for each public name."""
    for name in module.__all__:
        value = getattr(module, name)
        yield f"\n### `{name}`\n\n"
        yield signature_of(name, value)
        if isinstance(value, str):
            yield f"A type: `{value}`.\n"
            continue
        yield (inspect.getdoc(value) or "").replace("<", "&lt;") + "\n"
        if inspect.isclass(value) and issubclass(value, StrEnum):
            yield "\n" + ", ".join(f"`{one.value}`" for one in value) + "\n"


def signature_of(name: str, value: Any) -> str:
    """The signature of a function, for the top of its section."""
    if not inspect.isfunction(value):
        return ""
    text = f"{name}{inspect.signature(value)}".replace("'", "")
    return f"```text\n{text}\n```\n\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
