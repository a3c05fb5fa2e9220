"""The Python in the documentation passes mypy and pyright.

All of it is put into one folder, with a package for each page, so that each checker runs once. A
page may write a file anew: what follows means the newer one. Only what is part of something that is
not on the page is not checked.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT
from tests.test_docs import FILE, PAGES, Block, blocks_of

IMPORT = re.compile(r"^(?P<indent> *)(?P<kind>import|from) (?P<name>\w+)(?= |$)", re.MULTILINE)
MISTAKE = """
from jobqueue import Job


class Send(Job):
    def perform(self, user_id: int) -> None: ...


Send.perform_later("Ann")
"""  # it has to be found, or the checkers know nothing of the package
# The application that docs/migrations.md speaks of.
SHOP = """
from sqlalchemy import Engine
from sqlalchemy.orm import DeclarativeBase

engine: Engine


class Base(DeclarativeBase): ...
"""
FEWEST_BLOCKS = 40  # there are more: fewer than that means that they are not found


@pytest.fixture(scope="module")
def snippets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the Python of all pages."""
    folder = tmp_path_factory.mktemp("typed")
    for page in PAGES:
        package = folder / ("page_" + re.sub(r"\W", "_", page.stem))
        package.mkdir()
        (package / "__init__.py").touch()
        for name, text in modules_of(blocks_of(page, but=" part of "), package.name):
            file = package / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
    (folder / "shop.py").write_text(SHOP)
    (folder / "mistake.py").write_text(MISTAKE)
    return folder


def modules_of(blocks: Iterator[Block], package: str) -> Iterator[tuple[str, str]]:
    """A file for each block of a page, and what is in it, on the lines that it has in the page."""
    newest: dict[str, str] = {}
    for block in blocks:
        if block.language != "python":
            continue
        name = f"line_{block.line}"
        if file := FILE.match(block.text):
            named = file["name"].removesuffix(".py").replace("/", ".")
            newest[named] = name = f"{named}_{block.line}" if named in newest else named
        text = "\n" * block.line + with_imports_of_the_page(block.text, package, newest)
        yield f"{name.replace('.', '/')}.py", text


def with_imports_of_the_page(text: str, package: str, newest: dict[str, str]) -> str:
    """A block whose imports of the page's own files mean those in its package."""

    def place(found: re.Match[str]) -> str:
        if found["name"] not in newest:
            return found[0]
        name, meant = found["name"], newest[found["name"]]
        if found["kind"] == "import":
            return f"{found['indent']}from {package} import {meant} as {name}"
        return f"{found['indent']}from {package}.{meant}"

    return IMPORT.sub(place, text)


def said_by(folder: Path, *command: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr  # for the mistake
    return run.stdout


def test_mypy_finds_nothing_but_the_mistake(snippets: Path) -> None:
    """It is strict; only tests may go without types, as most people write them."""
    options = ["--strict", "--allow-untyped-defs", "--config-file=", "--no-error-summary"]
    cache = ["--cache-dir", str(PROJECT / ".mypy_cache" / "docs")]
    said = said_by(snippets, "mypy", *options, *cache, ".").splitlines()
    assert [line.partition(":")[0] for line in said] == ["mistake.py"], "\n".join(said)


def test_pyright_finds_nothing_but_the_mistake(snippets: Path) -> None:
    options = ["--pythonpath", sys.executable, "--outputjson"]
    found: Any = json.loads(said_by(snippets, "pyright", *options, "."))
    assert found["summary"]["filesAnalyzed"] >= FEWEST_BLOCKS
    said = [
        f"{Path(one['file']).relative_to(snippets)}:{one['range']['start']['line'] + 1}: "
        f"{one['message']}"
        for one in found["generalDiagnostics"]
    ]
    assert [line.partition(":")[0] for line in said] == ["mistake.py"], "\n".join(said)
