"""Settings: where they come from, which one counts, and what a wrong one is told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobqueue import ConfigurationError
from jobqueue.config import Settings, hide_password, load_settings, setting_names


def load(
    folder: Path,
    options: dict[str, Any] | None = None,
    environ: dict[str, str] | None = None,
    **files: str,
) -> Settings:
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)
    return load_settings(options, environ=environ or {}, directory=folder)


def test_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path) == Settings(
        database_url="sqlite:///jobs.sqlite3",
        wait_for_database=timedelta(0),
        app=None,
        queues=None,
        poll_interval=timedelta(seconds=1),
        listen=True,
        listen_url=None,
        schema=None,
        lease=timedelta(seconds=30),
        concurrency=1,
        max_runtime=None,
        kill_after=timedelta(seconds=5),
        grace=timedelta(seconds=25),
        boot_timeout=timedelta(minutes=2),
        max_attempts=24,
        keep_succeeded=False,
        keep_failed=True,
        keep_errors=timedelta(days=30),
        keep_stats=timedelta(days=90),
        keep_samples=timedelta(days=7),
        log_level="info",
        log_format="text",
    )


FILE = "[tool.jobqueue]\nmax_attempts = 3\nlease = 10.5\nqueues = ['a', 'b']\nkeep_failed = false"


def test_option_over_environment_over_file_over_default(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        {"max_attempts": 1, "lease": None},
        {"JOBS_MAX_ATTEMPTS": "2", "JOBS_LEASE": "20", "JOBS_LOG_LEVEL": "DEBUG"},
        pyproject=FILE,
    )
    assert settings.max_attempts == 1
    assert settings.lease == timedelta(seconds=20)
    assert settings.queues == ("a", "b")
    assert settings.keep_failed is False
    assert settings.log_level == "debug"


def test_jobqueue_toml_has_no_section(tmp_path: Path) -> None:
    assert load(tmp_path, jobqueue="app = 'shop.jobs'").app == "shop.jobs"


def test_two_files_with_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="both exist"):
        load(tmp_path, jobqueue="", pyproject=FILE)


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "sqlite:///jobs.sqlite3"),
        ({"DATABASE_URL": "postgresql://a/b"}, "postgresql://a/b"),
        ({"DATABASE_URL": "x://", "JOBS_DATABASE_URL": "sqlite:///y"}, "sqlite:///y"),
    ],
)
def test_where_the_database_url_comes_from(
    tmp_path: Path, environ: dict[str, str], url: str
) -> None:
    assert load(tmp_path, None, environ).database_url == url


@pytest.mark.parametrize("name", setting_names())
def test_every_setting_has_one_name_in_all_three_places(tmp_path: Path, name: str) -> None:
    values: dict[str, Any] = {
        "database_url": "sqlite:///x",
        "wait_for_database": 7,
        "app": "x",
        "queues": "x,y",
        "poll_interval": 7,
        "listen": "false",
        "listen_url": "postgresql://x",
        "schema": "x",
        "lease": 7,
        "concurrency": 7,
        "max_runtime": 7,
        "kill_after": 7,
        "grace": 7,
        "boot_timeout": 7,
        "max_attempts": 7,
        "keep_succeeded": "true",
        "keep_failed": "false",
        "keep_attempts": "12h",
        "keep_flows": "3h",
        "keep_errors": "7d",
        "keep_stats": "12h",
        "keep_samples": 7,
        "keep_actions": "30d",
        "keep_workers": 7,
        "app_version": "2026.1",
        "log_level": "error",
        "log_format": "json",
    }
    value = values[name]
    default = getattr(load(tmp_path), name)
    by_option = getattr(load(tmp_path, {name: value}), name)
    by_environment = getattr(load(tmp_path, None, {f"JOBS_{name.upper()}": str(value)}), name)
    by_file = getattr(load(tmp_path, jobqueue=f"{name} = {value!r}"), name)
    assert by_option == by_environment == by_file != default


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (
            {"JOBS_LEASE": "soon"},
            "JOBS_LEASE is 'soon'; expected a number of seconds above 0",
        ),
        ({"JOBS_LEASE": "0"}, "JOBS_LEASE is '0'"),
        ({"JOBS_LEASE": "-1"}, "JOBS_LEASE is '-1'"),
        ({"JOBS_KEEP_STATS": "0"}, "JOBS_KEEP_STATS is '0'; expected an age with its unit"),
        ({"JOBS_KEEP_STATS": "5 days"}, "JOBS_KEEP_STATS is '5 days'"),
        ({"JOBS_KEEP_SAMPLES": "true"}, "JOBS_KEEP_SAMPLES is 'true'"),
        ({"JOBS_KEEP_SAMPLES": "nan"}, "JOBS_KEEP_SAMPLES is 'nan'"),
        ({"JOBS_KEEP_SAMPLES": "inf"}, "JOBS_KEEP_SAMPLES is 'inf'"),
        ({"JOBS_POLL_INTERVAL": "inf"}, "JOBS_POLL_INTERVAL is 'inf'"),
        ({"JOBS_POLL_INTERVAL": "nan"}, "JOBS_POLL_INTERVAL is 'nan'"),
        ({"JOBS_MAX_ATTEMPTS": "0"}, "expected a whole number from 1"),
        ({"JOBS_CONCURRENCY": "0"}, "JOBS_CONCURRENCY is '0'; expected a whole number from 1"),
        ({"JOBS_MAX_RUNTIME": "0"}, "JOBS_MAX_RUNTIME is '0'; expected a number of seconds"),
        ({"JOBS_MAX_ATTEMPTS": "1.5"}, "expected a whole number from 1"),
        ({"JOBS_KEEP_FAILED": "maybe"}, "expected true or false"),
        ({"JOBS_QUEUES": "a b"}, "expected queue names"),
        ({"JOBS_QUEUES": ""}, "unset it to use the default"),
        ({"JOBS_DATABASE_URL": ""}, "JOBS_DATABASE_URL is ''; expected a URL"),
        ({"DATABASE_URL": ""}, "DATABASE_URL is ''"),
        ({"JOBS_LOG_LEVEL": "loud"}, "expected one of debug, info"),
    ],
)
def test_a_wrong_setting_names_the_key_the_value_and_what_was_expected(
    tmp_path: Path, environ: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, None, environ)
    assert said in str(caught.value)


def test_wrong_settings_in_files_and_options(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"lease in jobqueue\.toml is True"):
        load(tmp_path, jobqueue="lease = true")
    with pytest.raises(ConfigurationError, match=r"--max-attempts is 'x'; expected a whole number"):
        load(tmp_path, {"max_attempts": "x"}, jobqueue="")
    with pytest.raises(ConfigurationError, match=r"has .leese., which is no setting"):
        load(tmp_path, jobqueue="leese = 3")
    with pytest.raises(ConfigurationError, match="is not valid TOML"):
        load(tmp_path, jobqueue="lease =")


def test_all_queues_and_repeated_queues(tmp_path: Path) -> None:
    assert load(tmp_path, {"queues": "*"}).queues is None
    assert load(tmp_path, {"queues": "b, a,b"}).queues == ("b", "a")


def test_passwords_are_hidden() -> None:
    assert hide_password("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    assert hide_password("postgresql://me@host/db") == "postgresql://me@host/db"
    shown = hide_password("postgresql://host/db?user=me&password=secret&sslmode=require")
    assert shown == "postgresql://host/db?user=me&password=***&sslmode=require"
    assert hide_password("sqlite:////data/a:b@c.sqlite3") == "sqlite:////data/a:b@c.sqlite3"


@pytest.mark.parametrize("password", ["p@ss:w", "p/w", "p?w", "p#w", "p%2Fw", "p//w", "://", " "])
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:{}@host/db",
        "postgresql+psycopg://me:{}@host/db",
        "postgres:/me:{}@host/db",
        "postgresql//me:{}@host/db",
        "postgresql:///me:{}@host/db",
        "me:{}@host/db",
        "mysql://me:{}@host:port/db",
    ],
)
def test_passwords_are_hidden_in_mistyped_urls(url: str, password: str) -> None:
    assert hide_password(url.format(password)) == url.format("***")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, timedelta.max),
        ("true", timedelta.max),
        ("On", timedelta.max),
        (False, timedelta(0)),
        ("no", timedelta(0)),
        (0, timedelta(0)),
        ("0", timedelta(0)),
        (1, timedelta(seconds=1)),
        ("1", timedelta(seconds=1)),
        ("2.5", timedelta(seconds=2.5)),
        (timedelta(minutes=1), timedelta(minutes=1)),
    ],
)
def test_how_long_the_database_is_waited_for(
    tmp_path: Path, value: object, expected: timedelta
) -> None:
    assert load(tmp_path, {"wait_for_database": value}).wait_for_database == expected


@pytest.mark.parametrize("value", ["", "soon", "-1", "nan", "inf", [1], {}])
def test_what_is_no_time_to_wait(tmp_path: Path, value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"--wait-for-database is .* expected a number of"):
        load(tmp_path, {"wait_for_database": value})
