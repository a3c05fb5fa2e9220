"""People from a CSV file sign up, and each is welcomed by e-mail.

    python demo.py [people.csv]

In the environment: PEOPLE (instead of the argument), DATABASE_URL, SMTP_URL and MAIL_FROM.
README.md explains them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import report
from jobqueue import ConfigurationError
from jobqueue.config import hide_password, load_settings
from mail import WrongSmtpUrl, smtp_url
from mailserver import mail_server
from models import UnusableDatabase, create_tables
from people import BadLine, Person, UnreadablePeople, read_people
from report import count, show
from signup import AlreadySignedUp, sign_up

HERE = Path(__file__).resolve().parent
MAILDIR = HERE / "maildir"


def main() -> int:
    """Run the demo. Returns 0, 2 for what cannot be used, or the exit code of a `jobs` command."""
    people_file = chosen_people_file()
    os.chdir(HERE)  # where `jobs` finds jobqueue.toml and jobs.py
    try:
        return run(people_file)
    except (UnreadablePeople, WrongSmtpUrl, UnusableDatabase, ConfigurationError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130  # as a shell has it


def chosen_people_file() -> Path:
    """The file that was asked for, as seen from where it was asked, or the one beside this."""
    chosen = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PEOPLE")
    return Path(chosen).resolve() if chosen else HERE / "people.csv"


def run(people_file: Path) -> int:
    """Sign everybody up, work the jobs off, and show what came of it."""
    smtp_url()  # refuses a wrong one before anybody is signed up
    people = read_people(people_file)
    print(f"From {people_file} to {hide_password(load_settings().database_url)}")
    exit_code = run_jobs("migrate")
    if exit_code != 0:
        return exit_code
    create_tables()
    signed_up = sign_up_all(people)
    exit_code = work_off(signed_up)
    if exit_code <= 1:
        show_the_rest()
    return exit_code


def sign_up_all(people: Sequence[Person | BadLine]) -> list[Person]:
    """Sign up whoever can be, say who that is, and return them."""
    signed_up, refused = [], []
    for person in people:
        if isinstance(person, BadLine):
            refused.append(f"line {person.line}: {person.why}")
            continue
        try:
            sign_up(person.name, person.email)
        except AlreadySignedUp as error:
            refused.append(f"line {person.line}: {error}")
        else:
            signed_up.append(person)
    show(f"Signed up: {count(len(signed_up), 'person', 'people')}", map(str, signed_up))
    if refused:
        show(f"Not signed up: {count(len(refused), 'line')}", refused)
    show_what_the_database_has()
    return signed_up


def show_what_the_database_has() -> None:
    """Show that the sign-ups left as many jobs as users, and the refused ones nothing."""
    waiting = count(len(report.waiting_jobs()), "job")
    print(f"\nIn the database: {count(report.user_count(), 'user')}, {waiting} waiting.")


def work_off(signed_up: Sequence[Person]) -> int:
    """Perform what is due, through SMTP_URL or else through a mail server of our own."""
    if os.environ.get("SMTP_URL"):
        return work_off_through_given_server()
    # One of the newcomers is turned away at first, so that a retry is seen.
    greylisted = signed_up[len(signed_up) // 2].email if signed_up else None
    return work_off_through_own_server(greylisted)


def work_off_through_given_server() -> int:
    """Show as sent whom the application itself has noted as welcomed."""
    before = report.unwelcomed_ids()
    exit_code = run_jobs("workoff", "--queues", "email")
    sent = report.welcomed_among(before)
    show(f"Sent: {count(len(sent), 'e-mail')}", sent)
    return exit_code


def work_off_through_own_server(greylisted: str | None) -> int:
    """Show as sent what has arrived in the maildir."""
    with mail_server(MAILDIR, greylisted) as url:
        before = report.mails_in(MAILDIR)
        exit_code = run_jobs("workoff", "--queues", "email", SMTP_URL=url)
        arrived = report.mails_in(MAILDIR)
    sent = sorted(mail for key, mail in arrived.items() if key not in before)
    show(f"Sent: {count(len(sent), 'e-mail')}, received in {MAILDIR.name}/new", sent)
    return exit_code


def show_the_rest() -> None:
    """Show what is to be retried and when, and what will not be."""
    ended, waiting = report.ended_jobs(), report.waiting_jobs()
    if ended:
        show(f"Given up: {count(len(ended), 'e-mail')}", report.describe(ended))
    show(f"To be retried: {count(len(waiting), 'e-mail')}", report.describe(waiting))
    if waiting:
        when = report.clock_time(max(job.run_at for job in waiting))
        print(f"\nWhat waits is kept in the database; run this again from {when} on to send it.")


def run_jobs(*arguments: str, **environment: str) -> int:
    """Run a `jobs` command, as in a shell, and return its exit code."""
    print("\n$ jobqueue", *arguments, flush=True)
    command = [str(Path(sys.executable).with_name("jobqueue")), *arguments]
    env = {**os.environ, **environment}
    # Its log goes where this goes, so that both stay in order in a file as well.
    return subprocess.run(command, env=env, stderr=subprocess.STDOUT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
