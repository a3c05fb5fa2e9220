"""`jobs setup`, `jobs migrate` and `jobs doctor`."""

from __future__ import annotations

import json
import stat
import tomllib
from dataclasses import fields

import pytest
from sqlalchemy import text

from jobqueue.adapters import connect
from jobqueue.adapters.sql.adapter import SqlAdapter
from jobqueue.adapters.sql.history import head_revision
from jobqueue.config import Settings, load_settings
from tests.conftest import Project

SQLITE_ONLY = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_setup_makes_a_first_job_run(empty_project: Project, empty_database_url: str) -> None:
    environment = {"JOBS_DATABASE_URL": empty_database_url}
    sql = empty_project.jobs("setup", "--sql", env=environment)
    assert sql.exit_code == 0
    assert "CREATE TABLE background_jobs " in sql.out
    assert list(empty_project.folder.iterdir()) == []
    assert empty_project.jobs("list", env=environment).exit_code == 3

    run = empty_project.jobs("setup", env=environment)
    assert run.exit_code == 0, run.err
    assert "Created jobqueue.toml.\nCreated the tables (" in run.out
    config = (empty_project.folder / "jobqueue.toml").read_text()
    assert empty_database_url not in config

    (empty_project.folder / "jobqueue.toml").write_text("lease = 60\n")
    run = empty_project.jobs("setup", env=environment)
    assert run.exit_code == 0
    assert "left as it is" in run.out
    assert "up to date" in run.out
    assert (empty_project.folder / "jobqueue.toml").read_text() == "lease = 60\n"
    assert "up to date" in empty_project.jobs("migrate", env=environment).out

    empty_project.write("jobs.py", "import jobqueue\n@jobqueue.job\ndef greet() -> None: ...\n")
    assert empty_project.jobs("enqueue", "greet", env=environment).exit_code == 0
    run = empty_project.jobs("workoff", env=environment)
    assert (run.exit_code, run.out) == (0, "Worked off: 1 succeeded.\n")


def test_the_config_file_explains_every_setting(empty_project: Project) -> None:
    run = empty_project.jobs("setup", "--app", "shop.jobs", "--database-url", "sqlite:///own.db")
    assert run.exit_code == 0
    path = empty_project.folder / "jobqueue.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert tomllib.loads(text) == {"app": "shop.jobs", "database_url": "sqlite:///own.db"}
    assert (empty_project.folder / "own.db").exists()
    uncommented = "\n".join(
        line.removeprefix("# ")
        for line in text.splitlines()
        if line.removeprefix("# ").partition(" = ")[0] in {f.name for f in fields(Settings)}
    )
    assert set(tomllib.loads(uncommented)) == {f.name for f in fields(Settings)}
    path.write_text(uncommented)
    assert load_settings(environ={}, directory=empty_project.folder).lease == Settings().lease


def test_setup_writes_no_password_and_no_second_file(empty_project: Project) -> None:
    path = empty_project.folder / "jobqueue.toml"
    for secret in (
        "postgresql://ada:hunter22@127.0.0.1:1/x",
        "postgresql://h:1/x?password=hunter22",
        "postgresql://ada:4/hunter22@127.0.0.1:1/x",
        "postgresql://ada:4%23hunter22@127.0.0.1:1/x",
        "postgresql://ada:4#hunter22@127.0.0.1:1/x",
        "postgresql://ada:4?hunter22@127.0.0.1:1/x",
    ):
        run = empty_project.jobs("setup", "--database-url", secret)
        assert run.exit_code == 3
        assert "set JOBS_DATABASE_URL" in run.out
        assert "hunter22" not in path.read_text() + run.out + run.err
        path.unlink()
    for unusable in (
        "postgresql:/ada:hunter22@h/x",
        "postgresql//ada:hunter22@h/x",
        "ada:hunter22@h",
    ):
        run = empty_project.jobs("setup", "--database-url", unusable)
        assert run.exit_code == 3
        assert "hunter22" not in run.out + run.err
        assert not path.exists(), "what cannot be right is not written"
    project_file = empty_project.write("pyproject.toml", "[tool.jobqueue]\nlease = 60\n")
    before = project_file.read_text()
    run = empty_project.jobs("setup")
    assert run.exit_code == 0
    assert "pyproject.toml has settings already" in run.out
    assert not path.exists()
    assert project_file.read_text() == before


def test_the_doctor_tells_what_is_there(project: Project) -> None:
    project.jobs("enqueue", "Greet", '{"name": "Ada"}')
    project.jobs("enqueue", "Greet", '{"name": "Ada"}', "--wait", "60")
    project.write("jobqueue.toml", "lease = 60\n")
    run = project.jobs("doctor", "--json", env={"JOBS_LOG_LEVEL": "debug"})
    assert run.exit_code == 0
    found = json.loads(run.out)
    assert found["ok"] is True
    assert found["settings"]["lease"] == {"value": 60.0, "source": "jobqueue.toml"}
    assert found["settings"]["log_level"] == {"value": "debug", "source": "JOBS_LOG_LEVEL"}
    assert found["settings"]["queues"] == {"value": None, "source": "default"}
    assert found["settings"]["database_url"]["source"] == "JOBS_DATABASE_URL"
    assert set(found["settings"]) == {f.name for f in fields(Settings)}
    assert "jobs.Greet" in found["app"]["jobs"]
    assert found["database"]["answers"] is True
    assert found["schema"]["is_current"] is True
    assert found["workers"] == []
    assert (found["queue"]["due"], found["queue"]["waiting"]) == (1, 1)
    assert "`jobs work`" in found["advice"][0]
    run = project.jobs("doctor")
    assert run.exit_code == 0
    assert "1 due, 1 waiting, 0 gated, 0 blocked, 0 running" in run.out
    assert run.out.endswith("All is well.\n")


def test_the_doctor_tells_what_no_migration_mends(
    empty_project: Project, empty_database_url: str
) -> None:
    environment = {"JOBS_DATABASE_URL": empty_database_url}
    assert empty_project.jobs("migrate", env=environment).exit_code == 0
    change(empty_database_url, "DELETE FROM background_jobs_version")
    run = empty_project.jobs("doctor", env=environment)
    assert run.exit_code == 0, "an application's own migrations may have made the tables"
    assert "no revision (not " in run.out
    assert "the tables are not from `jobs migrate`" in run.out

    change(empty_database_url, "DROP TABLE background_queues")
    change(empty_database_url, f"INSERT INTO background_jobs_version VALUES ('{head_revision()}')")
    run = empty_project.jobs("doctor", env=environment)
    assert run.exit_code == 3
    assert "(incomplete)" in run.out
    assert "background_queues is missing" in run.out
    run = empty_project.jobs("migrate", env=environment)
    assert run.exit_code == 3
    assert run.err.startswith("Error: background_queues is missing")
    assert run.err.count("\n") == 1
    assert "`jobs migrate --sql`" in run.err

    change(empty_database_url, "UPDATE background_jobs_version SET version_num = '9999'")
    for command in ("doctor", "migrate"):
        run = empty_project.jobs(command, env=environment)
        assert run.exit_code == 3
        assert "a newer release has changed them" in run.out + run.err


def change(url: str, statement: str) -> None:
    """Do something to a database behind our back."""
    adapter = connect(url)
    assert isinstance(adapter, SqlAdapter)
    adapter.database.write(lambda connection: connection.execute(text(statement)))
    adapter.close()


@SQLITE_ONLY
def test_what_the_application_configures_in_code_holds(project: Project) -> None:
    project.write(
        "jobs.py",
        """
        import jobqueue

        jobqueue.configure(database_url="sqlite:///code.sqlite3", lease=77)

        @jobqueue.job
        def greet() -> None: ...
        """,
    )
    assert project.jobs("migrate").exit_code == 0
    assert project.jobs("enqueue", "greet").exit_code == 0
    assert (project.folder / "code.sqlite3").exists()
    found = json.loads(project.jobs("doctor", "--json").out)
    assert found["settings"]["lease"] == {"value": 77.0, "source": "code"}
    assert found["queue"]["due"] == 1
    run = project.jobs("list", "--database-url", "sqlite:///other.sqlite3")
    assert run.exit_code == 3, "an option comes before the code"
