"""Every block of code in the documentation is executed, and every public name is in it.

A Python block that begins with `# name.py` is a file of the reader's folder; any other is run
there. A console block runs each `$` line and compares what it prints; `...` stands for anything. A
block is left out only where the page says `<!-- not run: why -->` before it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import jobqueue
import jobqueue.web
from jobqueue.adapters.sql.tables import Base
from jobqueue.config import setting_names
from tests.conftest import PROJECT, Project

PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"(?P<not_run><!-- not run: [^>]+ -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
FILE = re.compile(r"# (?P<name>[\w/]+\.py)\n")


@dataclass(frozen=True)
class Block:
    """A block of code in a page."""

    language: str
    text: str
    line: int


def blocks_of(page: Path, but: str = "not run:") -> Iterator[Block]:
    """The blocks of a page, but for those whose comment has that text."""
    text = page.read_text()
    for found in BLOCK.finditer(text):
        if but not in (found["not_run"] or ""):
            yield Block(found["language"], found["text"], text[: found.start()].count("\n") + 1)


# A page is a long script: some of them start forty processes, one after the other.
@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_runs(page: Path, empty_project: Project) -> None:
    for block in blocks_of(page):
        where = f"{page.name}, line {block.line}"
        if block.language == "python":
            run_python(block, empty_project, where)
        elif block.language == "console":
            run_console(block, empty_project, where)
        else:
            assert block.language in {"sql", "text", "toml"}, where


def run_python(block: Block, project: Project, where: str) -> None:
    file = FILE.match(block.text)
    if file:
        project.write(file["name"], block.text)
        return
    run = project.python("-W", "error", "-c", block.text)
    assert run.exit_code == 0, f"{where}:\n{run.err}"


def run_console(block: Block, project: Project, where: str) -> None:
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        printed = run_command(command, project, where)
        pattern = "".join(
            ".*" if piece == "..." else re.escape(piece)
            for piece in re.split(r"(\.\.\.)\n?", expected)
        )
        assert re.fullmatch(pattern, printed, re.DOTALL), (
            f"{where}: `{command}` printed\n{printed}\nrather than\n{expected}"
        )


def run_command(command: str, project: Project, where: str) -> str:
    scripts = Path(sys.executable).parent
    environment = {
        **project.environment,
        "PATH": f"{scripts}:{project.environment['PATH']}",
        "PYTHONUNBUFFERED": "1",
    }
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=project.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in {0, 1}, (
        f"{where}: `{command}` ended with {done.returncode}:\n{done.stdout}"
    )
    assert "Traceback" not in done.stdout or "jobs.py" in done.stdout, f"{where}:\n{done.stdout}"
    return done.stdout


def test_the_reference_is_what_the_code_says() -> None:
    run = subprocess.run(
        [sys.executable, "-c", "import runpy; print(runpy.run_path('docs/generate.py')['page']())"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (PROJECT / "docs/reference.md").read_text() == run.stdout[:-1], "run `make docs`"


@pytest.mark.parametrize("name", jobqueue.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    assert re.search(rf"`[^`]*\b{name}\b[^`]*`", (PROJECT / "docs/reference.md").read_text())
    assert getattr(jobqueue, name).__doc__


@pytest.mark.parametrize("name", jobqueue.web.__all__)
def test_every_public_name_of_the_api_is_documented(name: str) -> None:
    assert f"\n### `{name}`\n" in (PROJECT / "docs/reference.md").read_text()


@pytest.mark.parametrize("name", setting_names())
def test_every_setting_is_documented(name: str) -> None:
    assert f"`{name}`" in (PROJECT / "docs/reference.md").read_text()


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


TEST_NAME = re.compile(r"\b(test_\w+)(\.py|…)?")


@pytest.mark.parametrize("page", ["reliability.md", "security.md"])
def test_every_test_that_is_named_as_proof_exists(page: str) -> None:
    """A name that ends in dots is the beginning of one."""
    folders = (PROJECT / "tests", PROJECT / "jobqueue" / "testing")
    files = [file for folder in folders for file in folder.rglob("*.py")]
    there = set(re.findall(r"def (test_\w+)", "\n".join(file.read_text() for file in files)))
    there |= {file.name for file in files}
    named = TEST_NAME.findall((PROJECT / "docs" / page).read_text())
    assert len(named) > 20
    for name, more in named:
        if more == "…":
            assert any(other.startswith(name) for other in there), name
        else:
            assert name + more in there


def test_every_table_is_in_the_docs() -> None:
    page = (PROJECT / "docs" / "migrations.md").read_text()
    missing = [name for name in Base.metadata.tables if f"| `{name.split('.')[-1]}` |" not in page]
    assert not missing
