"""Names and words of the package keep to the glossary of `docs/architecture.md`.

A module is named for the thing in it, a class for one thing in the whole package, and nothing by a
word that the glossary has another one for. The page itself names files and functions that exist.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.conftest import PROJECT

PACKAGE = PROJECT / "jobqueue"
PAGE = PROJECT / "docs/architecture.md"
MOST_STEPS = 15
OBLIQUE = ("What", "See", "Who")

NOUNS_THAT_END_SO = {
    "spelling": "how a word is spelt: it is a thing, not what somebody does",
}

# These log events, and are named as the events are, which applications filter by.
PUBLISHED_EVENTS = {"cancel_heard", "changed_from_outside", "steward_troubled"}


class Named(NamedTuple):
    """A name that the package gives to something."""

    kind: str
    name: str
    path: Path

    def __str__(self) -> str:
        return f"{self.kind} {self.name} ({self.path.relative_to(PROJECT)})"


@cache
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def modules() -> list[Named]:
    return [Named("module", path.stem, path) for path in trees() if path.stem != "__init__"]


def definitions() -> Iterator[tuple[Path, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def classes() -> list[Named]:
    return [
        Named("class", node.name, path)
        for path, node in definitions()
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]


def public_functions() -> list[Named]:
    return [
        Named("function", node.name, path)
        for path, node in definitions()
        if not isinstance(node, ast.ClassDef) and not node.name.startswith(("_", "test_"))
    ]


# --- names ---------------------------------------------------------------------------------------


def test_a_module_is_named_for_a_thing() -> None:
    allowed = NOUNS_THAT_END_SO.keys()
    gerunds = [module for module in modules() if module.name.endswith("ing")]
    assert not [str(module) for module in gerunds if module.name not in allowed]


def test_a_class_name_is_used_once() -> None:
    counted = Counter(named.name for named in classes())
    double = {name for name, number in counted.items() if number > 1}
    assert not double, [str(c) for c in classes() if c.name in double]


def test_nothing_is_named_by_a_word_that_the_glossary_refuses() -> None:
    refused = refused_words()
    wrong = {
        f"{named}: {word!r} is {refused[word]!r} here"
        for named in (*modules(), *classes(), *public_functions())
        for word in words_of(named.name)
        if word in refused and named.name not in PUBLISHED_EVENTS
    }
    assert not wrong


def test_published_events_are_still_there() -> None:
    names = {named.name for named in (*modules(), *classes(), *public_functions())}
    assert not PUBLISHED_EVENTS - names, "take these off the list"


def words_of(name: str) -> list[str]:
    """The words of a name: `JobRecord` and `job_record` have the same two."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [word for word in spaced.lower().split("_") if word]


# --- docstrings ----------------------------------------------------------------------------------


def test_docstrings_begin_with_what_the_thing_does() -> None:
    """A first line names the thing or says what it does, and does not lead to it by a detour."""
    oblique = [
        f"{path.relative_to(PROJECT)}: {first_line}"
        for path, first_line in docstrings()
        if first_line.split(" ")[0] in OBLIQUE
    ]
    assert not oblique


def docstrings() -> Iterator[tuple[Path, str]]:
    """The first line of every docstring of something public, the modules' included."""
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text and not getattr(node, "name", "").startswith("_"):
                    yield path, text.splitlines()[0]


# --- docs/architecture.md ------------------------------------------------------------------------


def section(title: str) -> str:
    """A part of the page, from its heading to the next."""
    found = re.search(
        rf"^(#+) {re.escape(title)}\n(.*?)(?=^#+ |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    assert found, title
    return found[2]


@cache
def refused_words() -> dict[str, str]:
    """The single words of the glossary's last column, and what is said instead."""
    rows = re.findall(r"^\| \*\*(.+?)\*\* \| .+ \|(.*)\|$", section("Glossary"), re.MULTILINE)
    return {
        word.strip(): term
        for term, refused in rows
        for word in refused.split(",")
        if word.strip() and " " not in word.strip()
    }


def steps() -> list[str]:
    return re.findall(r"^\d+\. `([\w.]+)`", section("The walk of one job"), re.MULTILINE)


def test_the_glossary_is_in_order() -> None:
    terms = re.findall(r"^\| \*\*(.+?)\*\* \|", section("Glossary"), re.MULTILINE)
    assert len(terms) > 50
    assert terms == sorted(set(terms))
    assert not refused_words().keys() & set(terms)


def test_a_job_walks_through_few_steps_and_none_twice() -> None:
    assert 0 < len(steps()) <= MOST_STEPS
    assert len(set(steps())) == len(steps())


def test_a_job_enters_each_step_on_its_way(postgres_url: str) -> None:
    """Each is there under its name, and is called between `perform_later` and the settlement."""
    command = [sys.executable, "-m", "tests.walk", postgres_url, *steps()]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    entered = json.loads(done.stdout)
    assert [step for step in steps() if step not in entered] == []


def test_the_places_where_something_is_changed_exist() -> None:
    paths = re.findall(r"`((?:\w+/)*\w+(?:\.py|/))`", section("Where do I change …?"))
    there = [path for path in paths if (PACKAGE / path).exists() or (PROJECT / path).exists()]
    assert len(paths) > 20
    assert paths == there


def test_every_file_at_the_top_of_the_package_has_its_row() -> None:
    table = section("Where things are")
    top = [path for path in PACKAGE.iterdir() if not path.name.startswith(("_", "."))]
    named = {f"{path.name}/" if path.is_dir() else path.name for path in top} - {"py.typed"}
    assert not {name for name in named if f"`{name}`" not in table}
