"""The curl calls of the documentation, against servers as it starts them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PROJECT, Project
from tests.test_docs import BLOCK, FILE, Block, run_console
from tests.web.conftest import server_in

pytestmark = pytest.mark.needs("curl")

DOCS = PROJECT / "docs"
NEEDS_SERVER = re.compile(r"<!-- not run: it needs a server; tests/web/test_pages.py [^>]+-->\n$")
PLACES = re.compile(r"localhost:(8787|8000)\b")
SERVE = {"api-mount.md": ["uvicorn", "--port", "0", "main:app"]}
SERVE_ALONE = ["jobqueue", "web", "--port", "0"]


def blocks_for_a_server(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in BLOCK.finditer(text):
        if found["not_run"] and NEEDS_SERVER.match(found["not_run"]):
            yield Block(found["language"], found["text"], text[: found.start()].count("\n") + 1)


def run_page(page: Path, project: Project, log: Path) -> None:
    for found in BLOCK.finditer(page.read_text()):
        file = FILE.match(found["text"])
        if found["language"] == "python" and file:
            project.write(file["name"], found["text"])
    blocks = list(blocks_for_a_server(page))
    assert blocks
    with server_in(project, SERVE.get(page.name, SERVE_ALONE), log) as (url, _):
        place = url.removeprefix("http://")
        for block in blocks:
            placed = Block(block.language, PLACES.sub(place, block.text), block.line)
            run_console(placed, project, f"{page.name}, line {block.line}")


def test_gravity_by_curl_as_documented(project: Project, tmp_path: Path) -> None:
    run_page(DOCS / "api.md", project, tmp_path / "log")
    assert "local: enqueued jobs.Greet #1" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("page", sorted(DOCS.glob("api-*.md")), ids=lambda page: page.name)
def test_every_task_as_documented(page: Path, project: Project, tmp_path: Path) -> None:
    run_page(page, project, tmp_path / "log")
