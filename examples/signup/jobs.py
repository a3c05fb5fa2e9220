"""The application's jobs. `jobs work` and `jobs workoff` find them here by the file's name."""

from __future__ import annotations

from datetime import UTC, datetime
from smtplib import SMTPRecipientsRefused

from jobqueue import Discard, Exponential, Job
from mail import send, welcome
from models import User, new_session


class SendWelcomeEmail(Job):
    """Welcomes a user, once."""

    name = "signup.SendWelcomeEmail"
    queue = "email"
    retry = Exponential(base=30, attempts=8)  # after 30 s, 1 min, 2 min, … an hour in all

    def perform(self, user_id: int) -> None:
        """Send the e-mail, and note that it was sent."""
        user = load(user_id)
        if user is None or user.welcomed_at is not None:
            # A job runs at least once: it may have sent the e-mail and died before it was done.
            return
        # No transaction is open here: a slow mail server must not keep one waiting.
        try:
            send(welcome(user.name, user.email))
        except SMTPRecipientsRefused as refusal:
            discard_if_permanent(refusal)
            raise
        note_welcomed(user_id)


def load(user_id: int) -> User | None:
    """The user, detached from the session that read it."""
    with new_session() as session:
        return session.get(User, user_id)


def note_welcomed(user_id: int) -> None:
    """Make another attempt send nothing."""
    with new_session() as session, session.begin():
        user = session.get(User, user_id)
        if user is not None:
            user.welcomed_at = datetime.now(UTC)


def discard_if_permanent(refusal: SMTPRecipientsRefused) -> None:
    """Raise `Discard` if trying again cannot help: SMTP's codes from 500 on are final."""
    for address, (code, reply) in refusal.recipients.items():
        if code >= 500:
            raise Discard(
                f"{address} was refused for good: {code} {reply.decode(errors='replace')}"
            )
