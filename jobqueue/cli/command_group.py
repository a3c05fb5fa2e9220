"""A command that has commands of its own, such as `jobqueue errors`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import typer

from jobqueue.cli.errors import examples_as_typed


def command_group(
    name: str, help_text: str, commands: Mapping[str, Callable[..., None]], **options: Any
) -> typer.Typer:
    """Return a command with commands of its own, whose helps show examples as they are typed here.

    Args:
        name: its name.
        help_text: what `--help` says of it.
        commands: its commands, by their names.
        **options: what `typer.Typer` takes beside them.
    """
    group = typer.Typer(
        name=name,
        help=examples_as_typed(help_text),
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
        **options,
    )
    for command_name, command in commands.items():
        group.command(command_name, help=examples_as_typed(command.__doc__))(command)
    return group
