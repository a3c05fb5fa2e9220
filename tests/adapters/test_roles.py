"""Each method of an adapter is found in the file of its role, in every adapter and the contract."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import jobqueue
from jobqueue.adapters.base import Adapter
from jobqueue.adapters.memory.adapter import MemoryAdapter
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.adapters.sqlite.adapter import SqliteAdapter

PACKAGE = Path(jobqueue.__file__).parent
ADAPTERS = PACKAGE / "adapters"
CONTRACT = PACKAGE / "testing" / "contract"
ROLES = sorted(path.stem for path in (ADAPTERS / "roles").glob("*.py") if path.stem != "__init__")
# These have a body in their role, since not every database has something to do for them.
OPTIONAL = {
    "is_living",
    "health",
    "close_spare_connections",
    "transaction",
    "transaction_async",
    "settle_unlocked",
}


def is_role(name: str) -> bool:
    return name.endswith("Role") and name not in {"MemoryRole", "SqlRole"}


def methods_in(path: Path) -> set[str]:
    """The public methods of the classes in a file that play a role."""
    return {
        member.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and plays_a_role(node)
        for member in node.body
        if isinstance(member, ast.FunctionDef) and not member.name.startswith("_")
    }


def plays_a_role(node: ast.ClassDef) -> bool:
    """Whether a class is a role's Protocol, or an adapter's implementation of one."""
    bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
    return is_role(node.name) or any(is_role(base) for base in bases)


def file_of(folder: Path, role: str) -> Path:
    """The file of a role, or the package that has a file for each part of it."""
    package = folder / role / "__init__.py"
    return package if package.exists() else folder / f"{role}.py"


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_its_files(role: str) -> None:
    for folder in (ADAPTERS / "memory", ADAPTERS / "sql", CONTRACT):
        assert file_of(folder, role).exists(), f"{role} has no file in {folder}"


@pytest.mark.parametrize("dialect", ["postgres", "sqlite"])
def test_what_a_database_does_in_its_own_way_is_in_the_file_of_its_role(dialect: str) -> None:
    for role in ROLES:
        path = ADAPTERS / dialect / f"{role}.py"
        if path.exists():
            assert methods_in(path) <= methods_in(ADAPTERS / "sql" / f"{role}.py") | OPTIONAL


def test_every_method_belongs_to_one_role() -> None:
    declared = [name for role in ROLES for name in methods_in(ADAPTERS / "roles" / f"{role}.py")]
    assert len(declared) == len(set(declared))
    assert set(declared) == {name for name in dir(Adapter) if not name.startswith("_")}


@pytest.mark.parametrize("adapter", ["memory", "sql"])
@pytest.mark.parametrize("role", ROLES)
def test_every_method_is_in_the_file_of_its_role(adapter: str, role: str) -> None:
    declared = methods_in(ADAPTERS / "roles" / f"{role}.py")
    written = methods_in(ADAPTERS / adapter / f"{role}.py")
    assert declared - OPTIONAL <= written


@pytest.mark.parametrize("adapter_class", [MemoryAdapter, SqliteAdapter, PostgresAdapter])
def test_an_adapter_has_hardly_any_names_beyond_the_interface(
    adapter_class: type[Adapter],
) -> None:
    beyond = set(dir(adapter_class)) - set(dir(Adapter))
    assert {name for name in beyond if not name.startswith("_")} <= {"migrating"}
