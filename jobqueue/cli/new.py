"""`jobqueue new`: it writes a job and its test, which both run as written."""

from __future__ import annotations

import builtins
import keyword
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from jobqueue.cli.errors import say
from jobqueue.cli.options import App
from jobqueue.cli.source import extended
from jobqueue.cli.templates import conftest_module, job_module, test_module
from jobqueue.config import load_settings
from jobqueue.errors import ConfigurationError

EXPECTED_NAME = "expected a name in CapWords, such as SendWelcomeEmail"
PYTEST_CONFIGURATIONS = ("pyproject.toml", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg")


@dataclass(frozen=True, slots=True)
class JobFile:
    """The file that a new job is written to.

    Args:
        root: the folder that modules are imported from.
        path: the file.
        module: the module that the file is.
        shared: whether other jobs may be in that file, so that the new one goes to its end.
    """

    root: Path
    path: Path
    module: str
    shared: bool


def new(
    name: Annotated[
        str, typer.Argument(help="The job's name: SendWelcomeEmail, or send_welcome_email.")
    ],
    app: App = None,
) -> None:
    """Write a job and its test, which both run as written.

    The job goes to the end of jobs.py (or of the module that `app` names), or into a file of its
    own where the application is a package. Nothing that exists is overwritten.

    \b
    Examples:
      jobs new SendWelcomeEmail
      jobs new send_welcome_email --app shop.jobs
    """
    folder = Path.cwd()
    class_name = checked_class_name(name)
    modules = (load_settings({"app": app}).app or "jobs").split(",")
    place = place_of_job(folder, modules[0].strip(), class_name)
    texts = _texts(folder, place, class_name)
    for path, text in texts.items():
        _write(folder, path, text)
    given = f" --app {app}" if app else ""
    say(
        f"Try it: `pytest`, or `jobqueue enqueue {class_name}{given}` and "
        f"`jobqueue workoff{given}`."
    )


def checked_class_name(name: str) -> str:
    """Return the name of a job class, in CapWords.

    Raises:
        ConfigurationError: it cannot be one.
    """
    words = re.split(r"[_-]+", name.strip("_-"))
    class_name = "".join(word[:1].upper() + word[1:] for word in words)
    if not class_name.isascii() or not class_name.isidentifier() or keyword.iskeyword(class_name):
        raise ConfigurationError(f"{name!r} is no name for a job class; {EXPECTED_NAME}")
    if class_name == "Job" or hasattr(builtins, class_name):
        raise ConfigurationError(f"{class_name} is taken by something else; choose another name")
    return class_name


def snake_case(class_name: str) -> str:
    """`SendHTTPRequest` as `send_http_request`."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", class_name)
    return apart.lower()


def place_of_job(folder: Path, module: str, class_name: str) -> JobFile:
    """Return the file that a job class goes to: the module, or a new one in the package.

    Raises:
        ConfigurationError: `module` is no module's name.
    """
    if not all(part.isidentifier() for part in module.split(".")):
        raise ConfigurationError(f"app is {module!r}, which is no name of a module")
    root = _root(folder, module)
    path = root.joinpath(*module.split("."))
    file = path.with_name(path.name + ".py")
    is_package = (path / "__init__.py").is_file() or (path.is_dir() and not file.is_file())
    if not is_package:
        return JobFile(root, file, module, shared=True)
    stem = snake_case(class_name)
    stem = f"{stem}_job" if keyword.iskeyword(stem) or (path / stem).exists() else stem
    return JobFile(root, path / f"{stem}.py", f"{module}.{stem}", shared=False)


def _root(folder: Path, module: str) -> Path:
    """Return the working directory, or its `src` if the module's top package is there."""
    top = module.split(".", maxsplit=1)[0]
    in_folder, in_source = (
        (place / top).is_dir() or (place / f"{top}.py").is_file()
        for place in (folder, folder / "src")
    )
    return folder / "src" if in_source and not in_folder else folder


def _texts(folder: Path, place: JobFile, class_name: str) -> dict[Path, bytes]:
    """Return the text of each file, before any is written: all of them are, or none."""
    test = _test_folder(folder) / f"test_{snake_case(class_name)}.py"
    for path in [test] if place.shared else [test, place.path]:
        if path.exists():
            raise ConfigurationError(
                f"{path.relative_to(folder)} is there already; choose another name"
            )
    is_there = place.shared and place.path.exists()
    job = extended(place.path, class_name) if is_there else job_module(class_name).encode()
    texts = {
        place.path: job,
        test: test_module(class_name, snake_case(class_name), place.module).encode(),
    }
    conftest = _missing_conftest(folder, test.parent)
    if conftest is not None:
        texts[conftest] = conftest_module(conftest, place.root).encode()
    return texts


def _test_folder(folder: Path) -> Path:
    is_singular = (folder / "test").is_dir() and not (folder / "tests").is_dir()
    return folder / ("test" if is_singular else "tests")


def _missing_conftest(folder: Path, tests: Path) -> Path | None:
    """Return the `conftest.py` that tests need to find the application, if there is none yet.

    pytest itself puts the folder of a `conftest.py`, or of a package of tests, on the path.
    """
    if (folder / "conftest.py").exists() or (tests / "__init__.py").exists():
        return None
    if any(_mentions(folder / name, "pythonpath") for name in PYTEST_CONFIGURATIONS):
        return None
    if _mentions(tests / "conftest.py", "sys.path"):
        return None
    return (folder if (tests / "conftest.py").exists() else tests) / "conftest.py"


def _mentions(path: Path, word: str) -> bool:
    return path.is_file() and word.encode() in path.read_bytes()


def _write(folder: Path, path: Path, content: bytes) -> None:
    done = "Appended to" if path.exists() else "Created"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    typer.echo(f"{done} {path.relative_to(folder)}.")
