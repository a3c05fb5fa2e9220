"""`jobqueue web` and `jobqueue token`, as processes."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from jobqueue.adapters import connect
from jobqueue.records import JobFilter
from tests.conftest import Project
from tests.web.conftest import server_in

CLIENTS = 200
SQLITE_ONLY = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
JOBS = """
    from jobqueue import Job


    class Hello(Job):
        api = True

        def perform(self, number: int) -> None: ...
"""


def port_of(url: str) -> str:
    return url.rpartition(":")[2]


@pytest.fixture
def shop(project: Project) -> Project:
    project.write("jobs.py", JOBS)
    return project


@pytest.fixture
def url(shop: Project, tmp_path: Path) -> Iterator[str]:
    with server_in(shop, ["jobqueue", "web", "--port", "0"], tmp_path / "log") as (url, _):
        yield f"http://localhost:{port_of(url)}"


def body(number: int) -> dict[str, Any]:
    return {"name": "Hello", "args": {"number": number}}


# --- many at once --------------------------------------------------------------------------------


async def post_all(url: str, each: int) -> list[tuple[int, int, int]]:
    """Clients that come at the same moment; number, status and id of each of their jobs."""
    limits = httpx2.Limits(max_connections=CLIENTS)

    async with httpx2.AsyncClient(base_url=url, timeout=60, limits=limits) as client:

        async def post(number: int) -> tuple[int, int, int]:
            key = {"idempotency-key": str(number)} if number % 2 else {}
            answer = await client.post("/api/job", json=body(number), headers=key)
            if number % 2:  # once more, as if the answer had been lost
                again = await client.post("/api/job", json=body(number), headers=key)
                assert again.json()["id"] == answer.json()["id"]
            return number, answer.status_code, answer.json()["id"]

        return await asyncio.gather(*(post(number) for number in range(CLIENTS * each)))


def test_nothing_is_lost_with_200_clients(url: str, database_url: str) -> None:
    made = asyncio.run(post_all(url, 2))
    assert {status for _, status, _ in made} == {201}
    assert len({job_id for _, _, job_id in made}) == 2 * CLIENTS
    adapter = connect(database_url)
    stored = adapter.list_jobs(JobFilter(), 1_000)
    adapter.close()
    assert {job.id: job.args["number"] for job in stored} == {i: n for n, _, i in made}


# --- starting and stopping -----------------------------------------------------------------------


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--host", "0.0.0.0"], 2, "--host 0.0.0.0 can be reached from other machines"),
        (["--host", "::"], 2, "can be reached from other machines"),
        (["--host", "192.0.2.1"], 2, "can be reached from other machines"),
        (["--host", "jobs.example.com"], 2, "can be reached from other machines"),
        (["--host", "192.0.2.1", "--auth", "tokens"], 2, "cannot listen on 192.0.2.1"),
        (["--auth", "nowhere:hook"], 2, "--auth 'nowhere:hook' cannot be found"),
        (["--auth", "jobs:Nothing"], 2, "--auth 'jobs:Nothing' cannot be found"),
        (["--auth", "jobs:__name__"], 2, "cannot be called"),
        (["--auth", ""], 2, "cannot be found"),
        (["--port", "70000"], 2, "65535"),
        (["--database-url", "memory://"], 2, "memory://"),
        (["--database-url", "sqlite:///none.sqlite3"], 3, "jobqueue setup"),
    ],
)
def test_what_is_not_served(shop: Project, arguments: list[str], code: int, said: str) -> None:
    run = shop.jobs("web", *arguments)
    assert run.exit_code == code, run.err
    assert said in run.err.replace("`jobs ", "`jobqueue ")
    assert "Traceback" not in run.err
    assert run.out == ""


@SQLITE_ONLY
def test_a_port_that_is_taken(shop: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = shop.jobs("web", "--port", str(taken.getsockname()[1]))
    assert (run.exit_code, "cannot listen on 127.0.0.1" in run.err) == (2, True)


@SQLITE_ONLY
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_told_to(shop: Project, tmp_path: Path, number: signal.Signals) -> None:
    """Also while somebody follows a job."""
    process = subprocess.Popen(
        [sys.executable, "-m", "jobqueue", "web", "--port", "0"],
        cwd=shop.folder,
        env={**shop.environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().split()[1]
        made = httpx2.post(f"{address}/api/job", json=body(1)).json()["id"]
        with httpx2.stream("GET", f"{address}/api/job/{made}/events") as answer:
            lines = answer.iter_lines()  # kept: without it the client would hang up
            assert next(lines) == "retry: 1000"
            process.send_signal(number)
            assert process.wait(15) == 0
        assert "Traceback" not in process.stderr.read()


@SQLITE_ONLY
def test_only_this_machine_by_its_own_names(url: str, tmp_path: Path) -> None:
    assert httpx2.post(f"{url}/api/job", json=body(1)).status_code == 201
    for headers, status in (
        ({"host": "evil.example.com"}, 421),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"origin": "https://evil.example.com"}, 403),
    ):
        answer = httpx2.post(f"{url}/api/job", json=body(1), headers=headers)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
    assert "local: enqueued jobs.Hello #1" in (tmp_path / "log").read_text()


@SQLITE_ONLY
def test_another_address_of_this_machine(shop: Project, tmp_path: Path) -> None:
    command = ["jobqueue", "web", "--host", "127.0.0.2", "--port", "0"]
    with server_in(shop, command, tmp_path / "log") as (url, _):
        assert httpx2.get(f"http://127.0.0.2:{port_of(url)}/readyz").status_code == 200


# --- tokens --------------------------------------------------------------------------------------


def test_a_token_from_its_making_to_its_end(shop: Project, tmp_path: Path) -> None:
    made = shop.jobs("token", "create", "billing", "--scope", "enqueue")
    assert made.exit_code == 0, made.err
    token, said = made.out.splitlines()
    read = json.loads(shop.jobs("token", "create", "grafana", "--days", "90", "--json").out)
    assert said == f"This is the token {token.split('_')[1]} (enqueue). It is not shown again."
    assert (read["scopes"], read["state"]) == (["read"], "valid")
    listed = shop.jobs("token", "list").out
    assert "billing" in listed
    assert "grafana" in listed
    assert token.split("_")[2] not in listed

    serve = ["jobqueue", "web", "--host", "0.0.0.0", "--port", "0", "--auth", "tokens"]
    with server_in(shop, serve, tmp_path / "log") as (everywhere, _):
        url = f"http://127.0.0.1:{port_of(everywhere)}"

        def status(method: str, path: str, token: str | None) -> int:
            headers = {} if token is None else {"authorization": f"Bearer {token}"}
            sent: Any = body(1) if method == "POST" else None
            return httpx2.request(method, url + path, headers=headers, json=sent).status_code

        assert status("POST", "/api/job", None) == 401
        assert status("POST", "/api/job", token) == 201
        assert status("GET", "/api/queues", token) == 403
        assert status("GET", "/api/queues", read["token"]) == 200
        assert status("GET", "/healthz", None) == 200
        revoked = shop.jobs("token", "revoke", token.split("_")[1])
        assert (revoked.exit_code, status("POST", "/api/job", token)) == (0, 401)
    assert f"token billing ({token.split('_')[1]}): enqueued" in (tmp_path / "log").read_text()
    states = {
        one["name"]: one["state"] for one in json.loads(shop.jobs("token", "list", "--json").out)
    }
    assert states == {"billing": "revoked", "grafana": "valid"}


@SQLITE_ONLY
def test_mistakes_with_tokens(shop: Project) -> None:
    assert shop.jobs("token", "list").out == "No tokens.\n"
    for arguments in (
        ["create", "x", "--scope", "write"],
        ["create"],
        ["create", "x", "--days", "0"],
        ["revoke", "none"],
        ["create", "x", "--database-url", "memory://"],
    ):
        run = shop.jobs("token", *arguments)
        assert (run.exit_code, run.out) == (2, ""), arguments
    assert shop.jobs("token", "list").out == "No tokens.\n"


# --- without the extra ---------------------------------------------------------------------------


@SQLITE_ONLY
@pytest.mark.parametrize("missing", ["uvicorn", "starlette"])
def test_without_the_extra_it_says_what_to_install(
    shop: Project, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['jobs', 'web']; "
        "from jobqueue.cli import main; main()"
    )
    run = shop.python("-c", code)
    assert (run.exit_code, run.out) == (2, ""), run.err
    assert "pip install 'jobqueue[web]'" in run.err
