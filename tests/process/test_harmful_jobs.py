"""Jobs that harm their own process: the worker goes on, or is replaced and the crash charged."""

from __future__ import annotations

import json
import signal
import sys

import psutil
import pytest

from jobqueue import JobState
from jobqueue.records import JobFilter, NewJob
from tests.conftest import Project
from tests.process.conftest import SLOW, Start, WaitFor, database_of, enqueue, exists, show

FORKING = """
    import asyncio
    import multiprocessing
    import os
    import sys
    import time
    from pathlib import Path

    from jobqueue import Job


    def performed(by):
        with Path("performed.txt").open("a") as file:
            file.write(f"{by} {os.getpid()}\\n")


    def fork(how):
        performed("job")
        child = os.fork()
        if child == 0:
            if how == "raises":
                raise ValueError("in the child")
            if how == "exits":
                sys.exit(3)
            return False
        _, status = os.waitpid(child, 0)
        with Path("status.txt").open("a") as file:
            file.write(f"{how} {os.waitstatus_to_exitcode(status)}\\n")
        return True


    class Forks(Job):
        def perform(self, how, then=""):
            if fork(how) and then == "dies":
                os._exit(7)


    class ForksAsync(Job):
        async def perform(self, how, then=""):
            await asyncio.sleep(0)
            if fork(how) and then == "dies":
                os._exit(7)


    class ForksWithHooks(Forks):
        def after_success(self):
            performed("hook")


    class ForksInBefore(Job):
        def before_perform(self):
            fork("returns")

        def perform(self):
            performed("job")


    class ForksInPolicy(Job):
        retry = staticmethod(lambda attempt, error: fork("returns") and 1000)

        def perform(self):
            raise ValueError("no luck")


    class ForksInTransaction(Job):
        def perform(self, how):
            with self.transaction():
                fork(how)


    class TransactionInChild(Job):
        def perform(self):
            if os.fork() == 0:
                with self.transaction():
                    pass
            os.wait()


    class Terminates(Job):
        def perform(self):
            context = multiprocessing.get_context("fork")
            process = context.Process(target=time.sleep, args=(60,))
            process.start()
            process.terminate()
            process.join()
            Path("status.txt").write_text(str(process.exitcode))


    class Quick(Job):
        def perform(self):
            performed("quick")
"""


@pytest.fixture
def forking(slow_project: Project) -> Project:
    slow_project.write("jobs.py", FORKING)
    return slow_project


def lines(project: Project, name: str) -> list[str]:
    path = project.folder / name
    return path.read_text().splitlines() if path.exists() else []


def performed(project: Project) -> list[str]:
    return [line.split()[0] for line in lines(project, "performed.txt")]


def work_off(start: Start, *arguments: str) -> str:
    exit_code, log = start("workoff", "-n", "1", *arguments).ended()
    assert exit_code in {0, 1}, log
    return log


@pytest.mark.parametrize(
    ("job", "concurrency"), [("Forks", 1), ("Forks", 2), ("ForksAsync", 1), ("ForksAsync", 2)]
)
def test_a_forked_process_that_leaves_perform_ends(
    forking: Project, start: Start, job: str, concurrency: int
) -> None:
    for how in ("returns", "raises", "exits"):
        enqueue(forking, job, how=how)
    enqueue(forking, "Quick")
    log = work_off(start, "--concurrency", str(concurrency))
    assert sorted(performed(forking)) == ["job"] * 3 + ["quick"]
    assert sorted(lines(forking, "status.txt")) == ["exits 3", "raises 1", "returns 0"]
    assert log.count("that it has forked") == 3
    assert log.count("ValueError: in the child") == 1
    assert log.count(f"jobs.{job} #") == 3 + 3


def test_a_crash_after_a_fork_is_charged(forking: Project, start: Start) -> None:
    job_id = enqueue_once(forking, "Forks", how="returns", then="dies")
    left = enqueue(forking, "Quick")
    work_off(start)
    job = show(forking, job_id)
    assert job is not None
    assert (job.state, job.crashes, job.attempts) == (JobState.FAILED, 1, 1)
    assert "died while it performed this job (exit code 7)" in (job.last_error or "")
    assert show(forking, left) is None
    pids = {int(line.split()[1]) for line in lines(forking, "performed.txt")}
    assert not any(map(psutil.pid_exists, pids))


def enqueue_once(project: Project, job: str, **arguments: object) -> int:
    """Enqueue a job that may be attempted once."""
    with database_of(project) as adapter:
        once = NewJob(f"jobs.{job}", json.dumps(arguments), "default", 50, max_attempts=1)
        return adapter.enqueue([once])[0].id


def test_hooks_are_called_once(forking: Project, start: Start) -> None:
    enqueue(forking, "ForksWithHooks", how="returns")
    work_off(start)
    assert performed(forking) == ["job", "hook"]


@pytest.mark.parametrize("job", ["ForksInBefore", "ForksInPolicy"])
def test_a_process_forked_around_perform_ends_too(forking: Project, start: Start, job: str) -> None:
    job_id = enqueue(forking, job)
    enqueue(forking, "Quick")
    log = work_off(start)
    assert log.count("that it has forked") == 1
    expected = ["job", "job", "quick"] if job == "ForksInBefore" else ["job", "quick"]
    assert performed(forking) == expected
    record = show(forking, job_id)
    assert record is None or (record.state, record.attempts) == (JobState.READY, 1)


@pytest.mark.parametrize("how", ["returns", "raises"])
def test_a_forked_process_leaves_the_transaction_alone(
    forking: Project, start: Start, how: str
) -> None:
    job_id = enqueue(forking, "ForksInTransaction", how=how)
    enqueue(forking, "Quick")
    log = work_off(start)
    assert performed(forking) == ["job", "quick"]
    assert show(forking, job_id) is None, log
    assert "Traceback" not in log


def test_a_forked_process_cannot_complete_the_job(forking: Project, start: Start) -> None:
    enqueue(forking, "TransactionInChild")
    log = work_off(start)
    assert "only the process that began the job can complete it" in log
    assert "TransactionInChild #1 succeeded" in log


def test_a_process_of_multiprocessing_can_be_terminated(forking: Project, start: Start) -> None:
    enqueue(forking, "Terminates")
    log = work_off(start)
    assert lines(forking, "status.txt") == [str(-signal.SIGTERM)]
    assert "stopping: its supervisor" not in log


# --- signals -------------------------------------------------------------------------------------

SIGNALLING = """

    import _thread
    import signal


    class Interrupts(Job):
        def perform(self, how):
            if how == "interrupt_main":
                _thread.interrupt_main()
            elif how == "group":
                os.kill(0, signal.SIGINT)
            else:
                signal.raise_signal(signal.Signals[how])
            time.sleep(30)


    class Rests(Job):
        def perform(self):
            signal.raise_signal(signal.SIGTSTP)
"""


@pytest.fixture
def signalling(slow_project: Project) -> Project:
    slow_project.write("jobs.py", SLOW + SIGNALLING)
    return slow_project


@pytest.mark.parametrize("how", ["SIGQUIT", "interrupt_main", "group"])
def test_a_signal_that_the_supervisor_has_not_sent_is_a_crash(
    signalling: Project, start: Start, how: str
) -> None:
    job_id = enqueue_once(signalling, "Interrupts", how=how)
    left = enqueue(signalling, "Quick")
    log = work_off(start)
    job = show(signalling, job_id)
    assert job is not None
    assert (job.state, job.crashes, job.attempts) == (JobState.FAILED, 1, 1), log
    number = "SIGQUIT" if how == "SIGQUIT" else "SIGINT"
    assert f"died while it performed this job (signal {number})" in (job.last_error or "")
    assert show(signalling, left) is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_signal_to_all_processes_is_one_that_was_asked_for(
    signalling: Project, start: Start, wait_for: WaitFor, number: signal.Signals
) -> None:
    """A terminal, or a service manager, may send it to the workers and the supervisor at once."""
    job_id = enqueue(signalling, "Slow")
    supervisor = start("work", "-n", "1")
    wait_for(exists(signalling, "slow.started"), "the job to start")
    (worker,) = psutil.Process(supervisor.pid).children()
    worker.send_signal(number)
    supervisor.send(number)
    if number == signal.SIGINT:
        wait_for(lambda: "the supervisor is stopping" in supervisor.log, "the supervisor to stop")
        (signalling.folder / "slow.go").touch()
    exit_code, log = supervisor.ended()
    assert exit_code == 0, log
    assert "died" not in log
    job = show(signalling, job_id)
    assert (job is None) is (number == signal.SIGINT)
    assert job is None or (job.state, job.attempts, job.crashes) == (JobState.READY, 0, 0)


def test_a_job_cannot_make_its_worker_rest(signalling: Project, start: Start) -> None:
    enqueue(signalling, "Rests")
    left = enqueue(signalling, "Quick")
    work_off(start)
    assert show(signalling, left) is None


# --- what programs of a job inherit --------------------------------------------------------------

STARTING = """
    import json
    import os
    import subprocess
    import sys
    from pathlib import Path

    from jobqueue import Job

    LISTS = "import os; print(len(os.listdir('/proc/self/fd')))"


    class Starts(Job):
        def perform(self):
            subprocess.run(["cat"], check=True)
            listed = subprocess.run(
                [sys.executable, "-c", LISTS], close_fds=False, capture_output=True, text=True
            )
            said = [sys.stdin.read(), listed.stdout.strip()]
            Path("said.json").write_text(json.dumps(said))
"""


def test_programs_of_a_job_read_nothing_and_inherit_nothing(
    slow_project: Project, start: Start
) -> None:
    slow_project.write("jobs.py", STARTING)
    enqueue(slow_project, "Starts")
    log = work_off(start)
    assert "jobs.Starts #1 succeeded" in log
    said, listed = json.loads((slow_project.folder / "said.json").read_text())
    assert said == ""
    if sys.platform == "linux":
        assert listed == "4"  # its standard streams, and the folder that it lists


# --- what a job breaks for those that follow -----------------------------------------------------

BREAKING = """
    import asyncio
    import gc
    import locale
    import logging
    import logging.config
    import os
    import signal
    import sys
    import tempfile
    import threading
    import time
    import warnings
    from pathlib import Path

    from jobqueue import Job

    HERE = Path.cwd()


    class Closes(Job):
        def perform(self, first):
            os.closerange(first, 4096)


    class ClosesAsync(Job):
        async def perform(self, first):
            os.closerange(first, 4096)
            await asyncio.sleep(0.1)


    class Odd:
        def write(self, *_):
            raise RuntimeError("no output")

        flush = close = write


    def fails(*_):
        raise RuntimeError("a hook")


    def silences_by_filter():
        logging.getLogger("jobqueue").addFilter(fails)

    def silences_by_handler():
        class Fails(logging.Handler):
            emit = fails

        logging.getLogger().addHandler(Fails())

    def closes_streams():
        sys.stdout.close()
        sys.stderr.close()

    def replaces_streams():
        sys.stdout = sys.stderr = Odd()

    def removes_streams():
        sys.stdout = sys.stderr = None

    def leaves():
        folder = tempfile.mkdtemp()
        os.chdir(folder)
        os.rmdir(folder)

    def clears_handlers():
        logging.getLogger().handlers.clear()
        logging.getLogger("jobqueue").handlers.clear()

    def masks():
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())

    def traces():
        threading.settrace(fails)
        threading.setprofile(fails)

    def hooks():
        sys.excepthook = threading.excepthook = sys.unraisablehook = fails

    HARMS = {
        "streams closed": closes_streams,
        "streams replaced": replaces_streams,
        "streams removed": removes_streams,
        "log disabled": lambda: logging.disable(logging.CRITICAL),
        "loggers disabled": lambda: logging.config.dictConfig({"version": 1}),
        "handlers cleared": clears_handlers,
        "level raised": lambda: logging.getLogger("jobqueue").setLevel(100),
        "log shut down": logging.shutdown,
        "filter fails": silences_by_filter,
        "handler fails": silences_by_handler,
        "umask": lambda: os.umask(0o777),
        "folder left": leaves,
        "locale": lambda: locale.setlocale(locale.LC_ALL, "C"),
        "switch interval": lambda: sys.setswitchinterval(100),
        "warnings": lambda: warnings.simplefilter("error"),
        "no gc": gc.disable,
        "hooks": hooks,
        "traces": traces,
        "environment": os.environ.clear,
        "mask": masks,
    }


    class Harms(Job):
        def perform(self, which):
            HARMS[which]()


    class Honest(Job):
        def perform(self, after, concurrency):
            if concurrency == 1:
                print("after", after)
                print("after", after, file=sys.stderr)


    class Ignores(Job):
        def perform(self):
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)


    class Defaults(Job):
        def perform(self, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
            (HERE / "default.started").touch()
            time.sleep(60)
"""
HARMS = (
    "streams closed",
    "streams replaced",
    "streams removed",
    "log disabled",
    "loggers disabled",
    "handlers cleared",
    "level raised",
    "log shut down",
    "filter fails",
    "handler fails",
    "umask",
    "folder left",
    "locale",
    "switch interval",
    "warnings",
    "no gc",
    "hooks",
    "traces",
    "environment",
    "mask",
)


@pytest.fixture
def breaking(slow_project: Project) -> Project:
    slow_project.write("jobs.py", BREAKING)
    return slow_project


@pytest.mark.parametrize("concurrency", [1, 2])
def test_the_job_after_a_harmful_one_is_performed_and_logged(
    breaking: Project, start: Start, concurrency: int
) -> None:
    """With several at a time, the streams are shared, and nobody knows whose they are."""
    honest = []
    for harm in HARMS if concurrency == 1 else HARMS[3:]:
        enqueue(breaking, "Harms", which=harm)
        honest.append(enqueue(breaking, "Honest", after=harm, concurrency=concurrency))
    log = work_off(start, "--concurrency", str(concurrency))
    with database_of(breaking) as adapter:
        assert adapter.list_jobs(JobFilter(), 100) == []
    assert [job_id for job_id in honest if f"jobs.Honest #{job_id} succeeded" not in log] == []
    assert "died" not in log


@pytest.mark.parametrize(
    ("job", "concurrency", "first"),
    [("Closes", 1, 3), ("Closes", 2, 0), ("ClosesAsync", 1, 3), ("ClosesAsync", 2, 3)],
)
def test_a_job_that_closes_all_files_is_charged_with_the_crash(
    breaking: Project, start: Start, job: str, concurrency: int, first: int
) -> None:
    job_id = enqueue_once(breaking, job, first=first)
    log = work_off(start, "--concurrency", str(concurrency))
    record = show(breaking, job_id)
    assert record is not None
    assert (record.state, record.crashes, record.attempts) == (JobState.FAILED, 1, 1), log
    assert "(a job has closed file descriptors of the process)" in (record.last_error or "")


def test_a_worker_whose_files_were_closed_is_replaced(breaking: Project, start: Start) -> None:
    job_id = enqueue_once(breaking, "Closes", first=3)
    honest = enqueue(breaking, "Honest", after="all", concurrency=1)
    log = work_off(start)
    record = show(breaking, job_id)
    assert record is not None
    assert record.state is JobState.FAILED
    assert show(breaking, honest) is None
    assert f"jobs.Honest #{honest} succeeded" in log


def test_a_worker_that_does_not_get_its_signals_ends_when_it_is_asked(
    breaking: Project, start: Start, wait_for: WaitFor
) -> None:
    job_id = enqueue(breaking, "Ignores")
    supervisor = start("work", "-n", "1", "--grace", "50")
    wait_for(lambda: show(breaking, job_id) is None, "the job to be done")
    supervisor.send(signal.SIGTERM)
    exit_code, log = supervisor.ended()
    assert exit_code == 0
    assert "is stopping: its supervisor asked it to" in log
    assert "killed" not in log


@pytest.mark.parametrize("name", ["SIGTERM", "SIGQUIT"])
def test_a_worker_that_dies_of_being_asked_charges_nobody(
    breaking: Project, start: Start, wait_for: WaitFor, name: str
) -> None:
    """It is asked to finish by TERM, and, when its supervisor is told twice, to hurry by QUIT."""
    job_id = enqueue(breaking, "Defaults", name=name)
    supervisor = start("work", "-n", "1")
    wait_for(exists(breaking, "default.started"), "the job to take the signal")
    supervisor.send(signal.SIGTERM)
    if name == "SIGQUIT":
        wait_for(lambda: "its supervisor asked it to" in supervisor.log, "the worker to be asked")
        supervisor.send(signal.SIGTERM)
    exit_code, log = supervisor.ended()
    assert exit_code == 0, log
    job = show(breaking, job_id)
    assert job is not None
    assert (job.state, job.attempts, job.crashes) == (JobState.READY, 0, 0)
