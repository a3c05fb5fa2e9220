"""`examples/signup/`, run as `make demo` runs it, on a copy of the folder."""

from __future__ import annotations

import mailbox
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import create_engine, text

from jobqueue import JobRecord, JobState
from jobqueue.adapters import connect
from jobqueue.records import JobFilter
from tests.conftest import PROJECT, Folder, Run, plain_environment

NAMES = {
    "ada@example.com": "Ada Lovelace",
    "zoe@example.org": "Zoë Søndergaard",
    "jose.nunez@example.com": "José Núñez",
    "zeljko@example.net": "Željko Đurić",
    "siobhan@example.org": "Siobhán O'Brien",
    "xiaoming@example.com": "王小明",
    "lukasz@example.net": "Łukasz Żółć",
    "ama@example.org": "Ama Owusu-Ansah",
    "hanh@example.com": "Nguyễn Thị Hạnh",
    "juergen.mueller@example.net": "Müller, Jürgen",
    "sofia@example.org": "Σοφία Παπαδοπούλου",
}
GREYLISTED = "xiaoming@example.com"


@dataclass(frozen=True)
class Demo:
    """A copy of the demo, and the database that it uses."""

    folder: Path
    database_url: str
    environment: dict[str, str] = field(default_factory=plain_environment)

    def run(self, **environment: str) -> Run:
        """Run it from another folder, as make does."""
        script = str(self.folder / "demo.py")
        elsewhere = Folder(self.folder.parent, self.environment)
        return elsewhere.python(script, env=environment)

    def script(self, code: str) -> Run:
        """Run code in its folder, with its modules to import."""
        return Folder(self.folder, self.environment).python("-c", code)

    def mails(self) -> dict[str, str]:
        """The subject of each message in the maildir by its recipient's address."""
        mails: dict[str, str] = {}
        for raw in mailbox.Maildir(self.folder / "maildir", create=False):
            message = message_from_bytes(raw.as_bytes(), policy=policy.default)
            (address,) = message["To"].addresses
            assert address.addr_spec not in mails, "welcomed twice"
            assert message.get_content().startswith(f"Hello {address.display_name},")
            mails[address.addr_spec] = message["Subject"]
        return mails

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows that a query returns."""
        engine = create_engine(self.database_url)
        try:
            with engine.begin() as connection:
                result = connection.execute(text(sql))
                return [tuple(row) for row in result] if result.returns_rows else []
        finally:
            engine.dispose()

    def jobs(self) -> Sequence[JobRecord]:
        """All jobs in its database."""
        with closing(connect(self.database_url)) as adapter:
            return adapter.list_jobs(JobFilter(), 100)

    def make_due(self) -> None:
        """Let the time of every waiting job have come."""
        with closing(connect(self.database_url)) as adapter:
            adapter.retry(JobFilter())


@pytest.fixture
def sqlite_demo(tmp_path: Path) -> Demo:
    """A copy as it is out of the box."""
    folder = tmp_path / "signup"
    ignored = shutil.ignore_patterns("maildir", "*.sqlite3*", "__pycache__")
    shutil.copytree(PROJECT / "examples" / "signup", folder, ignore=ignored)
    return Demo(folder, f"sqlite:///{folder / 'signup.sqlite3'}")


@pytest.fixture
def postgres_demo(sqlite_demo: Demo, empty_postgres_url: str) -> Demo:
    """A copy with DATABASE_URL set."""
    environment = {**sqlite_demo.environment, "DATABASE_URL": empty_postgres_url}
    return Demo(sqlite_demo.folder, empty_postgres_url, environment)


@pytest.fixture(params=["sqlite_demo", "postgres_demo"])
def demo(request: pytest.FixtureRequest) -> Demo:
    """On SQLite, then on PostgreSQL."""
    made = request.getfixturevalue(request.param)
    assert isinstance(made, Demo)
    return made


# --- out of the box ------------------------------------------------------------------------------


def test_everybody_is_welcomed_in_the_end(demo: Demo) -> None:
    started = datetime.now(UTC)
    first = demo.run()
    ended = datetime.now(UTC)
    assert first.exit_code == 0, first
    assert_all_but_one_are_welcomed(demo)
    assert_one_is_to_be_retried(demo, first, started, ended)
    assert "Signed up: 11 people" in first.out
    assert "line 8: 'grace(at)example.com' is no e-mail address" in first.out
    assert "line 11: ada@example.com is signed up already" in first.out
    assert "In the database: 11 users, 11 jobs waiting." in first.out
    assert "Sent: 10 e-mails" in first.out

    demo.make_due()
    second = demo.run()
    assert second.exit_code == 0, second
    assert demo.mails() == {address: f"Welcome, {name}!" for address, name in NAMES.items()}
    assert demo.jobs() == []
    assert "Signed up: 0 people" in second.out
    assert "In the database: 11 users, 1 job waiting." in second.out
    assert "Sent: 1 e-mail," in second.out
    assert "To be retried: 0 e-mails" in second.out
    if demo.database_url.startswith("postgresql"):
        assert not (demo.folder / "signup.sqlite3").exists()


def assert_all_but_one_are_welcomed(demo: Demo) -> None:
    others = {address: name for address, name in NAMES.items() if address != GREYLISTED}
    assert demo.mails() == {address: f"Welcome, {name}!" for address, name in others.items()}
    users = demo.query("SELECT email, name, welcomed_at IS NOT NULL FROM users")
    assert {(email, name, bool(welcomed)) for email, name, welcomed in users} == {
        (email, name, email != GREYLISTED) for email, name in NAMES.items()
    }


def assert_one_is_to_be_retried(demo: Demo, run: Run, started: datetime, ended: datetime) -> None:
    (job,) = demo.jobs()
    ((user_id,),) = demo.query(f"SELECT id FROM users WHERE email = '{GREYLISTED}'")
    assert job.args == {"user_id": user_id}
    assert (job.state, job.queue, job.attempts) == (JobState.READY, "email", 1)
    # SQLite's clock and jitter: 30 s and up to a tenth more, in whole milliseconds.
    assert started + timedelta(seconds=30) <= job.run_at + timedelta(milliseconds=1)
    assert job.run_at <= ended + timedelta(seconds=33)
    assert job.last_error
    assert "451" in job.last_error.splitlines()[-1]
    when = (job.run_at + timedelta(microseconds=999_999)).astimezone()
    assert "To be retried: 1 e-mail\n" in run.out
    assert f"{NAMES[GREYLISTED]} <{GREYLISTED}> at {when:%H:%M:%S}, in " in run.out
    assert f": attempt 2 of {job.max_attempts}\n" in run.out
    assert f"run this again from {when:%H:%M:%S} on" in run.out


def test_a_sign_up_that_fails_late_leaves_neither_user_nor_job(demo: Demo) -> None:
    done = demo.script(SIGN_UP_AND_FAIL)
    assert "the job was stored\nrolled back\n" in done.out, done
    assert demo.query("SELECT count(*) FROM users") == [(0,)]
    assert demo.jobs() == []


SIGN_UP_AND_FAIL = """
import jobqueue, models, signup
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

jobqueue.Job.adapter.migrate()
models.create_tables()

@event.listens_for(Session, "before_commit")
def fail(session):
    if session.scalar(select(func.count()).select_from(jobqueue.BackgroundJob)) == 1:
        print("the job was stored")
    raise RuntimeError("no")

try:
    signup.sign_up("Ada", "ada@example.com")
except RuntimeError:
    print("rolled back")
"""


def test_somebody_who_was_welcomed_is_not_welcomed_again(sqlite_demo: Demo) -> None:
    done = sqlite_demo.script(
        """
import jobqueue, jobs, mail, models, signup
jobqueue.Job.adapter.migrate()
models.create_tables()
user_id = signup.sign_up("Ada", "ada@example.com")
jobs.send = lambda message: print("sent to", message["To"])
jobs.SendWelcomeEmail.perform_now(user_id)
jobs.SendWelcomeEmail.perform_now(user_id)
jobs.SendWelcomeEmail.perform_now(user_id + 1)
"""
    )
    assert done.out == "sent to Ada <ada@example.com>\n", done


# --- with one's own people, mail server, database ------------------------------------------------


def test_own_people_are_named_from_where_the_command_is_typed(sqlite_demo: Demo) -> None:
    people = sqlite_demo.folder.parent / "my people.csv"
    people.write_text(
        "EMAIL , Name,Phone\n"
        "eva@example.org,Eva Ðorđe,1\n"
        ",Nobody,2\n"
        'eve@example.org,"Eve\nBcc: all@example.org",3\n'
        "adam@example.org\n"
        "kim@example.org,Kim,4,more\n"
        "\n"
        "EVA@example.org,Eva again,5\n",
        encoding="utf-8-sig",
    )
    run = sqlite_demo.run(PEOPLE="my people.csv")
    assert run.exit_code == 0, run
    assert sqlite_demo.query("SELECT name, email FROM users") == [("Eva Ðorđe", "eva@example.org")]
    assert len(sqlite_demo.jobs()) == 1
    assert "Signed up: 1 person\n" in run.out
    assert "Not signed up: 5 lines" in run.out
    assert "line 3: '' is no e-mail address" in run.out
    assert "line 5: 'Eve\\nBcc: all@example.org' is no name" in run.out
    assert "line 6: '' is no name" in run.out
    assert "line 7: it has more fields than the first line" in run.out
    assert "line 9: eva@example.org is signed up already" in run.out


class Inbox:
    """What the test's mail server receives. It knows no Zoë."""

    def __init__(self) -> None:
        self.recipients: list[str] = []

    async def handle_RCPT(  # noqa: N802 - aiosmtpd calls it by this name
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if address == "zoe@example.org":
            return "550 5.1.1 No such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        assert envelope.mail_from == "us@example.net"
        self.recipients += envelope.rcpt_tos
        return "250 OK"


@contextmanager
def mail_server() -> Iterator[tuple[str, Inbox]]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    inbox = Inbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield f"smtp://127.0.0.1:{port}", inbox
    finally:
        controller.stop()


def test_a_given_mail_server_is_used(sqlite_demo: Demo) -> None:
    with mail_server() as (url, inbox):
        run = sqlite_demo.run(SMTP_URL=url, MAIL_FROM="us@example.net")
    assert run.exit_code == 0, run
    assert sorted(inbox.recipients) == sorted(set(NAMES) - {"zoe@example.org"})
    assert not (sqlite_demo.folder / "maildir").exists()
    (job,) = sqlite_demo.jobs()
    assert job.state is JobState.CANCELLED
    assert "Sent: 10 e-mails\n  Ada Lovelace <ada@example.com>\n" in run.out
    assert "Given up: 1 e-mail\n  Zoë Søndergaard <zoe@example.org> cancelled" in run.out
    assert "zoe@example.org was refused for good: 550 5.1.1 No such mailbox" in run.out
    assert "To be retried: 0 e-mails" in run.out


def test_a_table_of_somebody_else_is_left_alone(sqlite_demo: Demo) -> None:
    sqlite_demo.query("CREATE TABLE users (login TEXT)")
    run = sqlite_demo.run()
    assert run.exit_code == 2, run
    assert "has a table `users` that belongs to something else" in run.err
    assert "Traceback" not in run.out + run.err
    assert sqlite_demo.query("SELECT * FROM users") == []


def test_a_database_that_does_not_answer_ends_it(sqlite_demo: Demo) -> None:
    run = sqlite_demo.run(DATABASE_URL="postgresql://nobody@127.0.0.1:1/nowhere")
    assert run.exit_code == 3, run
    assert "does not answer" in run.out
    assert "Traceback" not in run.out + run.err


# --- what cannot be used -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"PEOPLE": "none.csv"}, "none.csv cannot be read: No such file or directory"),
        ({"SMTP_URL": "localhost:1025"}, "SMTP_URL is not an address of a mail server"),
        ({"DATABASE_URL": ""}, "DATABASE_URL is ''"),
        ({"DATABASE_URL": "memory://"}, "the users cannot be kept in memory"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_done(
    sqlite_demo: Demo, environment: dict[str, str], message: str
) -> None:
    run = sqlite_demo.run(**environment)
    assert run.exit_code == 2, run
    assert message in run.err
    assert len(run.err.splitlines()) == 1
    assert not (sqlite_demo.folder / "signup.sqlite3").exists()


def test_a_file_that_cannot_be_used_is_refused_with_the_reason(sqlite_demo: Demo) -> None:
    files = {
        "semicolons": b"name;email\nAda;ada@example.com\n",
        "no-email": b"name,phone\nAda,1\n",
        "empty": b"",
        "latin-1": "name,email\nZo\u00eb,zoe@example.org\n".encode("latin-1"),
    }
    for name, content in files.items():
        (sqlite_demo.folder / name).write_bytes(content)
    done = sqlite_demo.script(READ_EACH.format(names=list(files)))
    lines = done.out.splitlines()
    assert "semicolons has no column 'name'; its first line is 'name;email'" in lines[0], done
    assert "no-email has no column 'email'; its first line is 'name,phone'" in lines[1]
    assert "empty has no column 'name'; its first line is ''" in lines[2]
    assert "latin-1 is not UTF-8" in lines[3]


READ_EACH = """
from pathlib import Path
from people import UnreadablePeople, read_people

for name in {names}:
    try:
        read_people(Path(name))
    except UnreadablePeople as error:
        print(error)
"""
