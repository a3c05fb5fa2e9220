"""What the demo shows, read from the database and the maildir."""

from __future__ import annotations

import mailbox
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path

from sqlalchemy import func, select

from jobqueue import BackgroundJob, JobState
from jobs import SendWelcomeEmail
from models import User, new_session

MOST_LINES = 20
ALMOST_A_SECOND = timedelta(microseconds=999_999)


def show(title: str, lines: Iterable[str]) -> None:
    """Print a heading and the lines below it, or only that there are many more."""
    listed = list(lines)
    print(f"\n{title}")
    for line in listed[:MOST_LINES]:
        print(f"  {line}")
    if len(listed) > MOST_LINES:
        print(f"  … and {len(listed) - MOST_LINES:,} more")


def count(number: int, singular: str, plural: str | None = None) -> str:
    """`1 user`, `2 users`; `plural` is for words that do not just take an s."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def user_count() -> int:
    """How many users there are."""
    with new_session() as session:
        return session.scalar(select(func.count()).select_from(User)) or 0


def unwelcomed_ids() -> set[int]:
    """The ids of the users who have not been welcomed."""
    with new_session() as session:
        return set(session.scalars(select(User.id).where(User.welcomed_at.is_(None))))


def welcomed_among(ids: set[int]) -> list[str]:
    """Those of some users who have been welcomed."""
    with new_session() as session:
        users = session.scalars(select(User).where(User.welcomed_at.is_not(None)).order_by(User.id))
        return [_whom(user) for user in users if user.id in ids]


def mails_in(maildir: Path) -> dict[str, str]:
    """Recipient and subject of each message in a maildir, by the name of its file."""
    box = mailbox.Maildir(maildir)
    mails = {
        key: message_from_bytes(box.get_bytes(key), policy=policy.default) for key in box.iterkeys()
    }
    return {key: f"{mail['To']}: {mail['Subject']}" for key, mail in mails.items()}


def waiting_jobs() -> list[BackgroundJob]:
    """The jobs that are to welcome somebody, the next one first."""
    return _welcome_jobs(JobState.READY)


def ended_jobs() -> list[BackgroundJob]:
    """The jobs that will not be tried again though they welcomed nobody."""
    return _welcome_jobs(JobState.FAILED, JobState.CANCELLED)


def describe(jobs: Iterable[BackgroundJob]) -> list[str]:
    """For each job: whom it is to welcome, when, and what went wrong the last time."""
    with new_session() as session:
        return [
            f"{_whom(session.get(User, job.args['user_id']))} {_when(job)}\n"
            f"      {_last_line(job.last_error)}"
            for job in jobs
        ]


def clock_time(moment: datetime) -> str:
    """The local time of day, rounded up to a second that is not before the moment."""
    return f"{moment.astimezone() + ALMOST_A_SECOND:%H:%M:%S}"


def _welcome_jobs(*states: JobState) -> list[BackgroundJob]:
    # Jobs are rows in the application's own database, so it can ask about them like about users.
    query = select(BackgroundJob).where(
        BackgroundJob.handler == SendWelcomeEmail.name, BackgroundJob.state.in_(states)
    )
    with new_session() as session:
        return list(session.scalars(query.order_by(BackgroundJob.run_at, BackgroundJob.id)))


def _whom(user: User | None) -> str:
    return f"{user.name} <{user.email}>" if user else "a user who is gone"


def _when(job: BackgroundJob) -> str:
    if job.state != JobState.READY:
        return f"{job.state} after attempt {job.attempts} of {job.max_attempts}"
    seconds = (job.run_at - datetime.now(UTC)).total_seconds()
    wait = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    due = f"at {clock_time(job.run_at)}, in {wait}" if seconds > 0 else "now"
    return f"{due}: attempt {job.attempts + 1} of {job.max_attempts}"


def _last_line(error: str | None) -> str:
    return error.splitlines()[-1] if error else "not tried yet"
