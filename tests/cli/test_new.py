"""`jobs new`: the job and the test that it writes run as written, and nothing else changes."""

from __future__ import annotations

import ast

import pytest

from tests.conftest import Project

MODULES = {
    "empty": "",
    "comments only": "#!/usr/bin/env python\n# Jobs of the shop.\n",
    "imports Job": "from jobqueue import Job, Retry\n\nclass Old(Job):\n    OLD = Retry\n",
    "renamed import": "from jobqueue import Job as Work\nOLD = Work\n",
    "whole module": "import jobqueue as jq\n\n@jq.job\ndef old() -> None: ...\n",
    "decorator only": "from jobqueue import job\n\n@job\ndef old() -> None: ...\n",
    "Job is another": "class Job:\n    pass\n\nOLD = Job()\n",
    "both are others": "class Job: ...\njobqueue = 3\nOLD = Job()\n",
    "later rebound": "from jobqueue import Job\nOLD = Job\nJob = 3\n",
    "star import": "from others import *\nOLD = 1\n",
    "docstring": '"""Jobs."""\n\nfrom __future__ import annotations\n\nOLD = 1\n',
    "docstring only": '"""Jobs."""',
    "comment above": "# Says how much.\nOLD = 1\n",
    "header": "# Copyright somebody\n# -*- coding: latin-1 -*-\n\n# Says how much.\nOLD = '\xe9'\n",
    "no newline at end": "OLD = 1",
    "windows": "import os\r\nOLD = os\r\n",
    "conditional": "try:\n    import json\nexcept ImportError:\n    Job = None\nOLD = 1\n",
}


def test_it_adds_to_any_module_without_touching_it(empty_project: Project) -> None:
    empty_project.write("others.py", "Job = 'theirs'")
    for name, text in MODULES.items():
        module = name.replace(" ", "_")
        encoding = "latin-1" if "latin-1" in text else "utf-8"
        path = empty_project.folder / f"{module}.py"
        path.write_bytes(text.encode(encoding))
        run = empty_project.jobs("new", f"Send_{module}", "--app", module)
        assert run.exit_code == 0, (name, run.err)
        after = path.read_bytes()
        new, old = ast.parse(after), ast.parse(text.encode(encoding))
        kept = [ast.dump(node) for node in new.body]
        for node in old.body:
            assert ast.dump(node) in kept, name
        assert len(new.body) - len(old.body) <= 2, name
        assert (b"\r\n" in after) == ("\r\n" in text)
        assert after.count(b"\r\n") in {0, after.count(b"\n")}
    modules = [name.replace(" ", "_") for name in MODULES]
    run = empty_project.python("-c", CHECK, *modules)
    assert run.exit_code == 0, run.err


CHECK = """
import importlib, sys
import jobqueue

for name in sys.argv[1:]:
    module = importlib.import_module(name)
    job = next(v for k, v in vars(module).items() if k.startswith("Send"))
    assert issubclass(job, jobqueue.Job), name
    job.perform_now("Ada")
    known = getattr(module, "Job", jobqueue.Job)
    if name == "star_import":
        assert known == "theirs"
    elif known is not jobqueue.Job:
        assert known is None or known == 3 or isinstance(module.OLD, known), name
"""


def test_a_new_job_and_its_test_run_as_written(empty_project: Project) -> None:
    empty_project.jobs("setup")
    run = empty_project.jobs("new", "SendWelcomeEmail")
    assert run.exit_code == 0
    assert "Created jobs.py.\nCreated tests/test_send_welcome_email.py.\n" in run.out
    run = empty_project.jobs("new", "send_report")
    assert "Appended to jobs.py.\n" in run.out
    run = empty_project.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert run.exit_code == 0, run.out
    assert "4 passed" in run.out
    assert empty_project.jobs("enqueue", "SendWelcomeEmail").exit_code == 0
    assert empty_project.jobs("enqueue", "SendReport", '{"name": "Ada"}').exit_code == 0
    run = empty_project.jobs("workoff")
    assert (run.exit_code, run.out) == (0, "Worked off: 2 succeeded.\n")


@pytest.mark.parametrize("layout", ["package", "src"])
def test_a_package_gets_a_file_of_its_own(empty_project: Project, layout: str) -> None:
    top = "src/" if layout == "src" else ""
    app = ("--app", "shop.jobs") if layout == "src" else ()
    package = f"{top}shop/jobs" if layout == "src" else "jobs"
    empty_project.write(f"{package}/__init__.py", "")
    run = empty_project.jobs("new", "Import", *app)
    assert f"Created {package}/import_job.py." in run.out, run.err
    # pytest's own script leaves the working directory off the path, as `-P` does.
    run = empty_project.python("-P", "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert run.exit_code == 0, run.out
    assert "2 passed" in run.out
    if layout == "package":
        empty_project.jobs("setup")
        assert empty_project.jobs("enqueue", "Import").exit_code == 0
        assert empty_project.jobs("workoff").exit_code == 0


def test_what_it_proposes_works_for_another_app(empty_project: Project) -> None:
    empty_project.jobs("setup")
    run = empty_project.jobs("new", "Import", "--app", "shop.work")
    assert "`jobs enqueue Import --app shop.work` and `jobs workoff --app shop.work`" in run.out
    assert empty_project.jobs("enqueue", "Import", "--app", "shop.work").exit_code == 0
    assert empty_project.jobs("workoff", "--app", "shop.work").out == "Worked off: 1 succeeded.\n"


def test_it_never_overwrites(empty_project: Project) -> None:
    empty_project.write("jobs.py", "class Taken: ...\n\nprint(Used) if False else None\n")
    (empty_project.folder / "tests").mkdir()
    empty_project.write("tests/test_kept.py", "KEPT = 1\n")
    empty_project.write("broken.py", "def x(:\n")

    def files() -> dict[str, bytes]:
        found = empty_project.folder.rglob("*.py")
        return {str(path): path.read_bytes() for path in found}

    before = files()
    for arguments, word in {
        ("Taken",): "Taken",
        ("Used",): "Used",
        ("Kept",): "test_kept.py",
        ("Job",): "taken",
        ("ValueError",): "taken",
        ("2Fast",): "CapWords",
        ("a.b",): "CapWords",
        ("Fine", "--app", "broken"): "line 1",
        ("Fine", "--app", "../up"): "no name of a module",
    }.items():
        run = empty_project.jobs("new", *arguments)
        assert run.exit_code == 2, (arguments, run.out)
        assert word in run.err, arguments
        assert run.err.count("\n") == 1
    assert files() == before
