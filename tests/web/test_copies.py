"""What shows the same as a page elsewhere: commands and calls that can be copied into a shell."""

from __future__ import annotations

import html
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest
from starlette.testclient import TestClient

from jobqueue import JobQueue
from jobqueue.cli import app
from jobqueue.clock import ManualClock
from jobqueue.web.dashboard.copies import TWINS
from jobqueue.web.dashboard.table import PAGES
from jobqueue.web.table import OPERATIONS
from tests.web.conftest import client_of
from tests.web.shop import Shop, shop
from tests.web.test_dashboard import HOSTILE, OWN, _filled

COPY = re.compile(r"<code>(jobqueue .*?|curl .*?)</code>", re.DOTALL)


@pytest.fixture
def shown() -> Shop:
    return shop(ManualClock(datetime.now(UTC)))


@pytest.fixture
def client(shown: Shop) -> Iterator[TestClient]:
    with client_of(JobQueue(shown.adapter)) as made:
        made.headers.update(OWN)
        yield made


def copies_in(page: str) -> list[list[str]]:
    """The words of what can be copied, as a shell takes them."""
    elsewhere = page.partition("The same elsewhere")[2]
    return [shlex.split(html.unescape(text)) for text in COPY.findall(elsewhere)]


def test_each_twin_is_of_a_page_a_command_and_an_operation() -> None:
    import typer.main

    commands = typer.main.get_command(app)
    paths = {re.sub(r":\w+}", "}", o.path) for o in OPERATIONS if o.method == "GET"}
    assert set(TWINS) <= {page.path for page in PAGES}
    for twin in TWINS.values():
        assert twin.command[0] in commands.commands  # type: ignore[attr-defined]
        assert (
            twin.api is None
            or twin.api.replace("{name}", "{schedule}") in paths
            or twin.api.replace("{name}", "{limit}") in paths
            or (twin.api in paths)
        )


def test_what_is_copied_shows_the_same(client: TestClient, shown: Shop) -> None:
    for path in TWINS:
        copied = copies_in(client.get(_filled(path, shown)).text)
        commands = [words for words in copied if words[0] == "jobqueue"]
        calls = [words for words in copied if words[0] == "curl"]
        assert commands
        for curl in [words for words in calls if words[1] == "-H"]:
            assert curl[:3] == ["curl", "-H", "Authorization: Bearer $JOBQUEUE_TOKEN"]
            assert curl[3].startswith("http://testserver/")
            answer = client.get(curl[3], headers={"accept": "application/json"})
            assert answer.status_code == 200, curl
            json.loads(answer.text)


def test_a_job_that_can_be_retried_has_copies_for_that(client: TestClient, shown: Shop) -> None:
    copied = copies_in(client.get(f"/jobs/{shown.failed}").text)
    assert ["jobqueue", "retry", str(shown.failed)] in copied
    [call] = [words for words in copied if words[:3] == ["curl", "-X", "POST"]]
    assert call[-1] == f"http://testserver/api/job/{shown.failed}/retry"
    assert client.post(call[-1]).status_code == 200
    running = client.get(f"/jobs/{shown.running}").text
    assert not [words for words in copies_in(running) if "retry" in words]


def test_hostile_texts_are_one_word_in_a_shell(client: TestClient) -> None:
    evil = "x'; echo hacked; $(echo hacked) `echo hacked` \"" + HOSTILE[:300]
    page = client.get("/jobs", params={"q": evil}).text
    command, _ = (html.unescape(text) for text in COPY.findall(page))
    printed = subprocess.run(
        ["sh", "-c", command.replace("jobqueue", "printf %s\\\\n", 1)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\nhacked" not in printed.stdout
    assert "$(echo hacked)" in printed.stdout


def test_a_query_has_a_link_that_means_the_same_tomorrow(client: TestClient) -> None:
    page = client.get("/jobs", params={"q": "state:failed since:2h"}).text
    [link] = re.findall(r'<a href="([^"]*)">A link that means the same tomorrow', page)
    assert re.search(r"since:20\d\d-", unquote(link))
    assert client.get(html.unescape(link)).status_code == 200
