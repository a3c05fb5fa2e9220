"""The release of the application: what is set, or what git has checked out."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from jobqueue import JobQueue, MemoryAdapter
from jobqueue.release import application_release, release_of_this_process

HASH = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40
SHORT = HASH[:7]


@pytest.fixture
def git(tmp_path: Path) -> Path:
    folder = tmp_path / ".git"
    (folder / "refs/heads/topic").mkdir(parents=True)
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_what_is_set_comes_first(tmp_path: Path, git: Path) -> None:
    write(git / "HEAD", HASH)
    assert application_release("2026.11", tmp_path) == "2026.11"
    assert application_release(None, tmp_path) == SHORT


def test_a_branch_and_a_commit(tmp_path: Path, git: Path) -> None:
    write(git / "HEAD", "ref: refs/heads/topic/one\n")
    write(git / "refs/heads/topic/one", f"{HASH}\n")
    assert application_release(None, tmp_path) == SHORT
    write(git / "HEAD", f"{OTHER}\n")
    assert application_release(None, tmp_path) == OTHER[:7]


def test_packed_branches(tmp_path: Path, git: Path) -> None:
    write(git / "HEAD", "ref: refs/heads/topic/one\n")
    packed = f"# pack-refs with: peeled\n{OTHER} refs/heads/topic/on\n{HASH} refs/heads/topic/one\n"
    write(git / "packed-refs", packed)
    assert application_release(None, tmp_path) == SHORT


def test_a_folder_within_the_repository(tmp_path: Path, git: Path) -> None:
    write(git / "HEAD", HASH)
    within = tmp_path / "shop" / "jobs"
    within.mkdir(parents=True)
    assert application_release(None, within) == SHORT


def test_what_git_itself_writes(tmp_path: Path) -> None:
    repository, tree = tmp_path / "repository", tmp_path / "tree"

    def git(*arguments: str) -> str:
        user = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        run = subprocess.run(
            ["git", "-C", str(repository), *user, *arguments],
            check=True,
            capture_output=True,
            text=True,
        )
        return run.stdout.strip()

    repository.mkdir()
    git("init", "--quiet")
    assert application_release(None, repository) is None
    git("commit", "--quiet", "--allow-empty", "--message", "one")
    git("worktree", "add", "--quiet", "-b", "another", str(tree))
    head = git("rev-parse", "HEAD")
    assert application_release(None, repository) == head[:7]
    assert application_release(None, tree) == head[:7]
    git("pack-refs", "--all")
    assert application_release(None, repository) == application_release(None, tree) == head[:7]


@pytest.mark.parametrize(
    "head",
    [
        "",
        "ref:",
        "ref: refs/heads/../../secret",
        "ref: /etc/passwd",
        "ref: refs/heads/missing",
        f"{HASH}0",
        HASH.upper(),
        "ref: refs/heads/a\0b",
        "\udcff",
        "x" * 100_000,
    ],
)
def test_what_git_would_not_write(tmp_path: Path, git: Path, head: str) -> None:
    (git / "HEAD").write_bytes(head.encode(errors="surrogateescape"))
    write(tmp_path / "secret", HASH)
    assert application_release(None, tmp_path) is None


@pytest.mark.parametrize("text", ["", "gitdir:", "gitdir: /nowhere", "gitdir: \0", "x" * 9000])
def test_a_file_that_names_no_repository(tmp_path: Path, text: str) -> None:
    write(tmp_path / ".git", text)
    assert application_release(None, tmp_path) is None


def test_a_pipe_is_not_waited_for(tmp_path: Path, git: Path) -> None:
    os.mkfifo(git / "HEAD")
    assert application_release(None, tmp_path) is None


def test_a_working_directory_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert application_release(None) is None


def test_a_process_keeps_the_release_that_it_began_with(
    tmp_path: Path, git: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release_of_this_process.cache_clear()
    monkeypatch.chdir(tmp_path)
    write(git / "HEAD", HASH)
    assert release_of_this_process(None) == SHORT
    write(git / "HEAD", OTHER)
    assert release_of_this_process(None) == SHORT
    release_of_this_process.cache_clear()


def test_a_worker_registers_with_its_release(
    wait_for: Callable[[Callable[[], bool], str], None],
) -> None:
    adapter = MemoryAdapter()
    with JobQueue(adapter, app_version="2026.11").running():
        wait_for(lambda: bool(adapter.workers()), "the worker")
        assert [worker.release for worker in adapter.workers()] == ["2026.11"]
    [end] = adapter.ended_workers(10)
    assert (end.release, end.host) == ("2026.11", socket.gethostname())
