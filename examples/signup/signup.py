"""Signing up: a user and the job that welcomes them, in one transaction."""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError

from jobs import SendWelcomeEmail
from models import User, new_session


class AlreadySignedUp(Exception):
    """There is a user with that e-mail address."""


def sign_up(name: str, email: str) -> int:
    """Create a user, have them welcomed, and return the user's id: all of it or nothing.

    Raises:
        AlreadySignedUp: neither a user nor a job was added.
    """
    try:
        with new_session() as session, session.begin():
            user = User(name=name, email=email)
            session.add(user)
            session.flush()  # the database gives the user an id, or refuses the address
            SendWelcomeEmail.set(session=session).perform_later(user.id)
            return user.id
    except IntegrityError as error:
        raise AlreadySignedUp(f"{email} is signed up already") from error
