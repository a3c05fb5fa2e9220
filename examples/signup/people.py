"""Reads the people who want to sign up from a CSV file."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COLUMNS = ("name", "email")
# Non-ASCII domains come as xn--…; a non-ASCII name before the @ is for servers with SMTPUTF8 only.
ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
EMAIL = re.compile(rf"{ATOM}(\.{ATOM})*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


class UnreadablePeople(Exception):
    """The file cannot be used at all."""


@dataclass(frozen=True)
class Person:
    """Somebody who can be signed up."""

    line: int
    name: str
    email: str

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>"


@dataclass(frozen=True)
class BadLine:
    """A line that is nobody, and why."""

    line: int
    why: str


def read_people(path: Path) -> list[Person | BadLine]:
    """Read every line of a CSV file that has the columns `name` and `email`, in any order.

    Raises:
        UnreadablePeople: there is no such file, it is not UTF-8, or a column is missing.
    """
    try:
        # -sig: spreadsheets put a byte order mark in front of the first column's name.
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(_rows(csv.DictReader(file), path))
    except OSError as error:
        raise UnreadablePeople(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnreadablePeople(f"{path} is not UTF-8 ({error}); save it as UTF-8") from error
    except csv.Error as error:
        raise UnreadablePeople(f"{path} is not a CSV file: {error}") from error


def _rows(reader: csv.DictReader[str], path: Path) -> Iterator[Person | BadLine]:
    header = [column.strip().lower() for column in reader.fieldnames or ()]
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise UnreadablePeople(
            f"{path} has no column {missing[0]!r}; its first line is {','.join(header)!r}, "
            f"expected {','.join(COLUMNS)!r}, with commas between them"
        )
    reader.fieldnames = header
    for row in reader:
        yield _person(reader.line_num, row)


def _person(line: int, row: dict[str, str | None]) -> Person | BadLine:
    if None in row:
        return BadLine(line, "it has more fields than the first line")
    name, email = ((row[column] or "").strip() for column in COLUMNS)
    if not name or not name.isprintable():
        return BadLine(line, f"{name!r} is no name")
    if not EMAIL.fullmatch(email):
        return BadLine(line, f"{email!r} is no e-mail address")
    return Person(line, name, email.lower())
