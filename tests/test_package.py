"""The package as it is installed: cheap to import, and complete in its wheel."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from tests.conftest import PROJECT, Project

HEAVY = {"sqlalchemy", "alembic", "psycopg", "pydantic", "typer", "rich"}


def test_importing_jobqueue_is_cheap(empty_project: Project) -> None:
    empty_project.write(
        "defines.py",
        """
        from jobqueue import Exponential, Job, job

        class Send(Job):
            retry = Exponential(base=3)

            def perform(self, user_id: int) -> None: ...

        @job(queue="email")
        async def send(user_id: int) -> None: ...
        """,
    )
    code = "import sys, defines; print(*sorted(name for name in sys.modules if '.' not in name))"
    run = empty_project.python("-c", code)
    assert run.exit_code == 0, run.err
    assert not HEAVY & set(run.out.split())


def test_the_wheel_has_everything_it_needs(empty_project: Project, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=PROJECT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
        names = archive.namelist()
    assert "jobqueue/py.typed" in names
    assert "jobqueue/_migrations/versions/0001_tables.py" in names
    assert "jobqueue/_migrations/versions/0004_flow_control.py" in names
    dashboard = PROJECT / "jobqueue" / "web" / "dashboard"
    files = [path for room in ("static", "templates") for path in (dashboard / room).rglob("*.*")]
    assert {str(path.relative_to(PROJECT)) for path in files} <= set(names)
    assert len(files) > 20
    assert not [name for name in names if name.startswith(("tests", "migrations", "benchmarks"))]
    entry_points = next(installed.glob("*.dist-info/entry_points.txt")).read_text()
    assert "jobs = jobqueue.cli:main" in entry_points
    assert "jobqueue = jobqueue.cli:main" in entry_points

    # Only the wheel is on the path, so it has to find the migrations inside itself.
    code = (
        f"import sys; sys.path.insert(0, {str(installed)!r}); import jobqueue; "
        f"assert jobqueue.__file__.startswith({str(installed)!r}); "
        "jobqueue.Job.adapter.migrate(); print(jobqueue.Job.adapter.schema_status().current)"
    )
    run = empty_project.python("-c", code)
    assert run.exit_code == 0, run.err
    assert run.out.startswith("0004")


def test_the_oldest_versions_allowed_are_those_tested() -> None:
    """`make lowest` installs what is locked, which says nothing of a bound that is lower."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    allowed = dict(
        re.sub(r"\[.*?\]", "", requirement).split(">=")
        for requirement in [*project["dependencies"], *project["optional-dependencies"]["web"]]
    )
    lock = (PROJECT / "requirements-lowest.lock").read_text()
    tested = dict(re.findall(r"^([a-z0-9_.-]+)==(\S+)", lock, re.MULTILINE))
    same_release = {
        name
        for name, bound in allowed.items()
        if re.fullmatch(rf"{re.escape(bound)}(\.0)*", tested[name])
    }
    assert same_release == set(allowed)
