"""Settings: option > environment > `[tool.jobqueue]` or `jobqueue.toml` > default.

Every setting has one name in all three places: `poll_interval` in a file, `JOBS_POLL_INTERVAL` in
the environment, `--poll-interval` on the command line. There, durations are seconds. In `Settings`
they are `timedelta`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from jobqueue.errors import ConfigurationError
from jobqueue.records import ATTEMPTS_LIFETIME
from jobqueue.retention import AGE_EXPECTED, KEEP_EXPECTED, KeepRule, parse_age, parse_keep
from jobqueue.spelling import did_you_mean

DEFAULT_DATABASE_URL = "sqlite:///jobs.sqlite3"
ENVIRONMENT_PREFIX = "JOBS_"
CONFIG_FILE = "jobqueue.toml"
QUEUE_NAME = re.compile(r"[A-Za-z0-9_.:\-]{1,128}")
LONGEST_SCHEMA_BYTES = 63
LONGEST_VERSION = 128
QUEUE_NAME_RULE = "1 to 128 letters, digits, or any of _ . : -"
PLACE = frozenset({"database_url", "schema"})
"""The settings that say where the jobs are."""
GROUPS = "workers"
GROUP_SETTINGS = ("queues", "concurrency", "max_runtime", "max_attempts", "poll_interval")
GROUP_EXPECTED = "count, " + ", ".join(GROUP_SETTINGS)
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
LOG_FORMATS = ("text", "json")


class PlacedUrl(str):
    """A database's URL as it was given, and the folder that it is relative to.

    `sqlite:///jobs.sqlite3` means the file in the folder in which the setting was read, wherever
    the process goes later.
    """

    folder: Path

    def __new__(cls, url: str) -> Self:
        placed = super().__new__(cls, url)
        placed.folder = folder_of(url)
        return placed


def folder_of(url: str) -> Path:
    """The folder that a database's URL is relative to: the working directory, if nothing is known.

    Raises:
        FileNotFoundError: the working directory has been removed.
    """
    return url.folder if isinstance(url, PlacedUrl) else Path.cwd()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of setting: how its value is read, and how messages describe what is expected."""

    expected: str
    parse: Callable[[Any], Any]


def is_queue_name(name: object) -> bool:
    """Whether a string can be the name of a queue."""
    return isinstance(name, str) and QUEUE_NAME.fullmatch(name) is not None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value.strip()


def _boolean(value: Any) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    raise ValueError


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError
    number = int(value)
    if number < 1:
        raise ValueError
    return number


def _seconds(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    else:
        seconds = float(value)
    if not 0 < seconds < float("inf"):
        raise ValueError
    return timedelta(seconds=seconds)


def _patience(value: Any) -> timedelta:
    """Read a time that may be zero (false, 0) or without end (true). 1 is a second, not true."""
    if value in (timedelta(0), timedelta.max):
        return value  # type: ignore[no-any-return]
    if isinstance(value, bool) or (isinstance(value, str) and value.strip().isalpha()):
        return timedelta.max if _boolean(value) else timedelta(0)
    if isinstance(value, int | float | str) and float(value) == 0:
        return timedelta(0)
    return _seconds(value)


def _queues(value: Any) -> tuple[str, ...] | None:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names:
        raise ValueError
    cleaned = tuple(name.strip() if isinstance(name, str) else name for name in names)
    if cleaned == ("*",):
        return None
    if not all(is_queue_name(name) for name in cleaned):
        raise ValueError
    return tuple(dict.fromkeys(cleaned))


def _schema(value: Any) -> str:
    name = _text(value)
    if not name.isprintable() or len(name.encode()) > LONGEST_SCHEMA_BYTES:
        raise ValueError
    if name.startswith("pg_") or name == "information_schema":
        raise ValueError
    return name


def _version(value: Any) -> str:
    version = _text(value)
    if not version.isprintable() or len(version) > LONGEST_VERSION:
        raise ValueError
    return version


def _one_of(words: tuple[str, ...]) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if not isinstance(value, str) or value.strip().lower() not in words:
            raise ValueError
        return value.strip().lower()

    return parse


URL = Kind("a URL such as sqlite:///jobs.sqlite3 or postgresql://user@host/database", _text)
APP = Kind("the name of a module or package, several with commas", _text)
BOOLEAN = Kind("true or false", _boolean)
COUNT = Kind("a whole number from 1", _count)
SECONDS = Kind("a number of seconds above 0", _seconds)
PATIENCE = Kind("a number of seconds, true for as long as it takes, or false", _patience)
SCHEMA = Kind(
    f"the name of a schema of PostgreSQL: up to {LONGEST_SCHEMA_BYTES} bytes on one line, and none "
    "of the server's own (pg_…, information_schema)",
    _schema,
)
VERSION = Kind(f"up to {LONGEST_VERSION} characters on one line", _version)
QUEUES = Kind(f"queue names with commas between them (each {QUEUE_NAME_RULE}), or *", _queues)
KEEP = Kind(KEEP_EXPECTED, parse_keep)
AGE = Kind(AGE_EXPECTED, parse_age)
LEVEL = Kind("one of " + ", ".join(LOG_LEVELS), _one_of(LOG_LEVELS))
FORMAT = Kind("one of " + ", ".join(LOG_FORMATS), _one_of(LOG_FORMATS))


def _setting(default: Any, kind: Kind, help_text: str) -> Any:
    return field(default=default, metadata={"kind": kind, "help": help_text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting, with its default. `load_settings` fills it from the three sources."""

    database_url: str = _setting(
        DEFAULT_DATABASE_URL,
        URL,
        "The database. JOBS_DATABASE_URL comes before DATABASE_URL in the environment. A password "
        "is safe there, and not on a command line.",
    )
    schema: str | None = _setting(
        None,
        SCHEMA,
        "The schema of PostgreSQL that the tables are in. Without it: where the search path leads.",
    )
    wait_for_database: timedelta = _setting(
        timedelta(0),
        PATIENCE,
        "How long workers that are started wait for a database that does not answer yet; "
        "without a number, for as long as it takes.",
    )
    app: str | None = _setting(
        None,
        APP,
        "The modules or packages that define the jobs, with commas between them. "
        "Without it: a module or package `jobs` in the working directory.",
    )
    queues: tuple[str, ...] | None = _setting(
        None, QUEUES, "The queues that a worker takes jobs from; `*` for all."
    )
    poll_interval: timedelta = _setting(
        timedelta(seconds=1),
        SECONDS,
        "How long an idle worker waits before it looks for jobs again.",
    )
    listen: bool = _setting(
        True,
        BOOLEAN,
        "Whether a new job wakes idle workers at once; without it they only poll.",
    )
    listen_url: str | None = _setting(
        None,
        URL,
        "The URL to listen at, if `database_url` goes through a pooler without notifications.",
    )
    lease: timedelta = _setting(
        timedelta(seconds=30),
        SECONDS,
        "How long a worker may be silent before its jobs are given to others.",
    )
    concurrency: int = _setting(1, COUNT, "How many jobs one worker process performs at a time.")
    max_runtime: timedelta | None = _setting(
        None,
        SECONDS,
        "How long an attempt may take before it is interrupted; a class can set its own.",
    )
    kill_after: timedelta = _setting(
        timedelta(seconds=5),
        SECONDS,
        "How long after its `max_runtime` a job that did not end is killed with its process.",
    )
    grace: timedelta = _setting(
        timedelta(seconds=25),
        SECONDS,
        "How long a worker that is stopped may take to finish the jobs that run.",
    )
    boot_timeout: timedelta = _setting(
        timedelta(minutes=2),
        SECONDS,
        "How long the new workers of a restart may take to get ready; then the old ones go on.",
    )
    max_attempts: int = _setting(
        24, COUNT, "How often a job is attempted before it is failed; a class can set its own."
    )
    keep_succeeded: KeepRule = _setting(
        False, KEEP, "Which rows of succeeded jobs stay, of each class; a class can set its own."
    )
    keep_failed: KeepRule = _setting(
        True,
        KEEP,
        "Which rows of failed and of cancelled jobs stay, of each class; a class can set its own.",
    )
    keep_attempts: timedelta = _setting(
        ATTEMPTS_LIFETIME,
        AGE,
        "How long attempts that did not succeed stay, if their job does.",
    )
    keep_flows: timedelta = _setting(
        timedelta(days=1),
        AGE,
        "How long batches, chains and flows stay after their end, with the rows of their jobs.",
    )
    keep_errors: timedelta = _setting(
        timedelta(days=30),
        AGE,
        "How long a group of errors stays after it was seen last, and how far its counts go back.",
    )
    keep_stats: timedelta = _setting(
        timedelta(days=90),
        AGE,
        "How long the statistics of attempts are kept: by the minute for a week, then by the hour.",
    )
    keep_samples: timedelta = _setting(
        timedelta(days=7), AGE, "How long the depths of queues are kept, one for each minute."
    )
    keep_actions: timedelta = _setting(
        timedelta(days=90), AGE, "How long it is kept what people did, by commands or over HTTP."
    )
    keep_workers: timedelta = _setting(
        timedelta(days=1), SECONDS, "How long it is kept when and why a worker has ended."
    )
    app_version: str | None = _setting(
        None,
        VERSION,
        "The release of the application, which is shown of its workers. Without it: git's short "
        "hash, where the working directory is in a repository.",
    )
    log_level: str = _setting("info", LEVEL, "The least important log lines that are shown.")
    log_format: str = _setting("text", FORMAT, "Log lines for people, or one JSON object a line.")

    def __post_init__(self) -> None:
        """Fix the folder that the database's URL is relative to."""
        object.__setattr__(self, "database_url", PlacedUrl(self.database_url))


def setting_names() -> tuple[str, ...]:
    """Return the names of all settings, in the order of the documentation."""
    return tuple(setting.name for setting in fields(Settings))


def url_settings() -> tuple[str, ...]:
    """Return the names of the settings that are URLs of databases, and so may have passwords."""
    return tuple(setting.name for setting in fields(Settings) if setting.metadata["kind"] is URL)


def variable_of(name: str) -> str:
    """Return the environment variable of a setting."""
    return ENVIRONMENT_PREFIX + name.upper()


def load_settings(
    options: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Settings:
    """Read the settings from all sources.

    Args:
        options: the options of the command line or of code; one that is None counts as not given.
        environ: the environment; the process's own by default.
        directory: the folder of `pyproject.toml` or `jobqueue.toml`; the working directory by
            default.

    Raises:
        ConfigurationError: a value cannot be used, or a name is not a setting.
    """
    environment = os.environ if environ is None else environ
    values = _from_file(directory or Path.cwd())
    values |= _from_environment(environment)
    values |= _from_options(options or {})
    return Settings(**values)


def config_file(directory: Path) -> Path | None:
    """Return the file in a directory that has settings of jobqueue, if there is one.

    Raises:
        ConfigurationError: there are two such files, or one is not valid TOML.
    """
    own, project = directory / CONFIG_FILE, directory / "pyproject.toml"
    has_section = "jobqueue" in _read_toml(project).get("tool", {})
    if own.is_file() and has_section:
        raise ConfigurationError(
            f"{own} and [tool.jobqueue] in {project} both exist; move the settings into one of them"
        )
    if own.is_file():
        return own
    return project if has_section else None


_BEGINNING = re.compile(r"[\w+.-]*:?/+")
_SECRET_OPTION = re.compile(
    r"([?&;][\w-]*(?:password|passwd|pwd|secret|token)=)[^&;]*", re.IGNORECASE
)


def hide_password(url: str) -> str:
    """Return a database URL without its password, for logs and screens.

    It may be mistyped. What could be a password is hidden, then: all that stands between a user's
    name and the last `@`.
    """
    return _SECRET_OPTION.sub(r"\1***", _hide_between_name_and_host(url))


def _hide_between_name_and_host(url: str) -> str:
    before, at, host = url.rpartition("@")
    if not at or url.startswith("sqlite:"):  # a file's name may have an @
        return url
    beginning = _BEGINNING.match(before)
    name_at = beginning.end() if beginning else 0
    name, colon, password = before[name_at:].partition(":")
    return f"{before[:name_at]}{name}:***@{host}" if colon and password else url


@dataclass(frozen=True, slots=True)
class ConfiguredGroup:
    """A group of workers as `[tool.jobqueue.workers.NAME]` has it.

    Args:
        name: the name of the group.
        count: how many worker processes it has.
        options: the settings of the group, as the file has them.
    """

    name: str
    count: int
    options: Mapping[str, Any]


def load_worker_groups(directory: Path | None = None) -> tuple[ConfiguredGroup, ...]:
    """Read the groups of workers that the file in a directory configures.

    Raises:
        ConfigurationError: one cannot be used.
    """
    section, where = _section(directory or Path.cwd())
    groups = section.get(GROUPS, {})
    if not isinstance(groups, dict):
        raise ConfigurationError(
            f"{GROUPS} in {where} is no table of groups; expected [{GROUPS}.NAME], and in it "
            f"{GROUP_EXPECTED}"
        )
    return tuple(
        _configured_group(name, table, f"{GROUPS}.{name} in {where}")
        for name, table in groups.items()
    )


def _configured_group(name: str, table: Any, where: str) -> ConfiguredGroup:
    if not isinstance(table, dict) or not is_queue_name(name):
        raise ConfigurationError(f"{where} is no table of a group; expected {GROUP_EXPECTED}")
    options = {key: value for key, value in table.items() if key != "count"}
    unknown = sorted(set(options) - set(GROUP_SETTINGS))
    if unknown:
        meant = did_you_mean(unknown[0], GROUP_SETTINGS) or ";"
        raise ConfigurationError(f"{where} has {unknown[0]!r}{meant} expected {GROUP_EXPECTED}")
    for key, value in options.items():
        _parsed(f"{key} of {where}", key, value)
    count = _parsed(f"count of {where}", "concurrency", table.get("count", 1))
    return ConfiguredGroup(name, count, options)


def _section(directory: Path) -> tuple[dict[str, Any], str]:
    """Return jobqueue's part of the file in a directory, and a name of it for messages."""
    path = config_file(directory)
    if path is None:
        return {}, ""
    table = _read_toml(path)
    if path.name == "pyproject.toml":
        return table["tool"]["jobqueue"], "[tool.jobqueue] in pyproject.toml"
    return table, path.name


def _from_file(directory: Path) -> dict[str, Any]:
    section, where = _section(directory)
    section = {name: value for name, value in section.items() if name != GROUPS}
    unknown = sorted(set(section) - set(setting_names()))
    if unknown:
        raise ConfigurationError(
            f"{where} has {unknown[0]!r}, which is no setting"
            f"{did_you_mean(unknown[0], setting_names()) or ';'} "
            f"there are: {', '.join(setting_names())}"
        )
    return {name: _parsed(f"{name} in {where}", name, value) for name, value in section.items()}


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for name in setting_names():
        for variable in _variables(name):
            if variable in environ:
                values[name] = _parsed(variable, name, environ[variable])
                break
    return values


def _variables(name: str) -> tuple[str, ...]:
    own = variable_of(name)
    return (own, "DATABASE_URL") if name == "database_url" else (own,)


def _from_options(options: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in options.items() if value is not None}
    unknown = sorted(set(given) - set(setting_names()))
    if unknown:
        raise ConfigurationError(
            f"{unknown[0]!r} is no setting{did_you_mean(unknown[0], setting_names()) or ';'} "
            f"there are: {', '.join(setting_names())}"
        )
    return {
        name: _parsed("--" + name.replace("_", "-"), name, value) for name, value in given.items()
    }


def checked_schema(name: str) -> str:
    """The name of a schema of PostgreSQL, which can be one.

    Raises:
        ConfigurationError: it cannot.
    """
    return str(_parsed("schema", "schema", name))


def _parsed(where: str, name: str, value: Any) -> Any:
    kind: Kind = next(f.metadata["kind"] for f in fields(Settings) if f.name == name)
    try:
        return kind.parse(value)
    except (ValueError, OverflowError):
        shown = hide_password(value) if isinstance(value, str) else value
        unset = "; unset it to use the default" if value == "" else ""
        raise ConfigurationError(f"{where} is {shown!r}; expected {kind.expected}{unset}") from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from error
