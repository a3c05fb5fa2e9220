"""The application's own table, in the same database as its jobs."""

from __future__ import annotations

from datetime import datetime
from functools import cache

from sqlalchemy import DateTime, Engine, create_engine, inspect, make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from jobqueue import begin_immediate
from jobqueue.config import load_settings


class Base(DeclarativeBase):
    """The base of the application's models."""


class User(Base):
    """Somebody who has signed up."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str] = mapped_column(unique=True)
    welcomed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class UnusableDatabase(Exception):
    """The demo cannot keep its users there."""


@cache
def engine() -> Engine:
    """The application's engine, on the database that `jobs` works on as well.

    Raises:
        UnusableDatabase: it is in memory, where the `jobs` commands could not see it.
    """
    url = make_url(load_settings().database_url)
    kind = url.get_backend_name()
    if kind == "sqlite":
        # Without it, a transaction that reads and then enqueues can fail as "locked" at once.
        return begin_immediate(create_engine(url))
    if kind in {"postgresql", "postgres"}:
        return create_engine(url.set(drivername="postgresql+psycopg"))
    raise UnusableDatabase(f"the users cannot be kept in {kind}; use SQLite or PostgreSQL")


def new_session() -> Session:
    """A session, to be used in a `with` statement."""
    return Session(engine())


def create_tables() -> None:
    """Create what is missing; an application of some age uses Alembic for its tables.

    Raises:
        UnusableDatabase: there is a table `users` already that is not this application's.
    """
    Base.metadata.create_all(engine())
    there = {column["name"] for column in inspect(engine()).get_columns(User.__tablename__)}
    if not there.issuperset(User.__table__.columns.keys()):
        raise UnusableDatabase(
            "the database has a table `users` that belongs to something else; "
            "give the demo a database of its own"
        )
