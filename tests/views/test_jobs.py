"""Which jobs a name means, for the command line and for the API alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobqueue import Job
from jobqueue.errors import UnknownJob
from jobqueue.job import registry
from jobqueue.views.jobs import classes_meant, names_meant, names_of_the_one_meant
from jobqueue.web.jobs import open_class
from jobqueue.web.problems import Problem


@pytest.fixture
def mails() -> Iterator[tuple[type[Job], type[Job]]]:
    """Two classes of which the name of one is the end of the name of the other."""

    class Closed(Job):
        name = "Mail"
        aliases = ("old.Letter",)

        def perform(self) -> None: ...

    class Opened(Job):
        name = "viewed.Mail"
        api = True

        def perform(self) -> None: ...

    yield Closed, Opened
    for name in ("Mail", "old.Letter", "viewed.Mail"):
        registry._by_name.pop(name)


def test_a_full_name_means_its_own_class_alone(mails: tuple[type[Job], type[Job]]) -> None:
    closed, opened = mails
    assert classes_meant("Mail") == [closed] == [registry.resolve("Mail")]
    assert names_meant("Mail") == names_of_the_one_meant("Mail") == ["Mail", "old.Letter"]
    assert classes_meant("viewed.Mail") == [opened]


def test_the_end_of_an_alias_means_its_class(mails: tuple[type[Job], type[Job]]) -> None:
    assert classes_meant("Letter") == [mails[0]] == [registry.resolve("Letter")]
    assert names_meant("Letter") == names_of_the_one_meant("Letter")


def test_a_class_that_is_not_open_does_not_stand_in_the_way(
    mails: tuple[type[Job], type[Job]],
) -> None:
    assert open_class("Mail") is mails[1]
    with pytest.raises(Problem, match="no job named 'Letter'"):
        open_class("Letter")


def test_a_name_without_a_class_means_the_rows_that_carry_it() -> None:
    assert names_meant("Gone") == ["Gone"]
    with pytest.raises(UnknownJob):
        names_of_the_one_meant("Gone")
