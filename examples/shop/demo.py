"""A small shop at work, and the dashboard on it: open the address that is printed.

    python demo.py

In the environment: DATABASE_URL (else a SQLite file beside this), PORT (8787), and RELEASE_AFTER,
the seconds until the new release is deployed (20). Ctrl-C ends it all.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
JOBQUEUE = str(Path(sys.executable).with_name("jobqueue"))
PORT = os.environ.get("PORT", "8787")
TAKEN = "email,payments,photos,imports,stock,default"
OLD, NEW = "1.9", "2.0"
OLD_RELEASE_SECONDS = float(os.environ.get("RELEASE_AFTER", "20"))
CUSTOMERS_EVERY_SECONDS = 0.25
ENDS = {signal.SIGINT, signal.SIGTERM}


class Ended(Exception):
    """Somebody has ended the demo."""


def main() -> int:
    """Run the shop until somebody ends it. Returns the exit code."""
    os.chdir(HERE)  # where jobqueue.toml and jobs.py are
    for number in ENDS:
        signal.signal(number, _end)
    try:
        jobqueue("migrate")
        jobqueue("pause", "newsletter", "--reason", "legal reads the text again until Monday")
        with running("web", "--port", PORT, "--log-level", "warning"):
            print("Open the dashboard at the address below. Ctrl-C ends it all.", flush=True)
            _open_browser()
            run_shop()
    except Ended:
        return 0
    except subprocess.CalledProcessError as error:
        return error.returncode
    return 0


def run_shop() -> None:
    """Perform jobs by the old release for a while, and then by the new one; customers come."""
    shop = customers()
    with running(*WORK, JOBS_APP_VERSION=OLD):
        end = time.monotonic() + OLD_RELEASE_SECONDS
        serve(shop, lambda: time.monotonic() < end)
    print(f"Release {NEW} of the shop is deployed. Look at Errors.", flush=True)
    with running(*WORK, JOBS_APP_VERSION=NEW) as worker:
        serve(shop, lambda: worker.poll() is None)


WORK = ("work", "--queues", TAKEN, "--concurrency", "6", "--grace", "2", "--log-level", "error")


def serve(shop: Iterator[None], goes_on: Callable[[], bool]) -> None:
    """Let customers come while it goes on."""
    while goes_on():
        next(shop)
        time.sleep(CUSTOMERS_EVERY_SECONDS)


def customers() -> Iterator[None]:
    """Yield each time that a customer has ordered something, or somebody works in the shop."""
    import jobs

    jobs.ImportCatalogue().perform_later("Acme", 400)
    chance = random.Random()
    order = 0
    while True:
        order += 1
        jobs.ChargeCard().perform_later(order, f"4000 0000 0000 {chance.randrange(10_000):04}")
        jobs.SendReceipt().perform_later(order)
        if order % 2 == 0:
            jobs.ResizePhoto().perform_later(order)
        if order % 8 == 0:
            jobs.SyncStock().perform_later(chance.choice(("north", "south")))
            jobs.SendNewsletter().perform_later(order)
        if order % 20 == 1:
            jobs.PrintLabel().perform_later(order)
        if order % 400 == 0:
            jobs.ImportCatalogue().perform_later(chance.choice(("Acme", "Globex", "Initech")))
        yield


def jobqueue(*arguments: str) -> None:
    """Run a command, as in a shell."""
    print("$ jobqueue", *arguments, flush=True)
    subprocess.run([JOBQUEUE, *arguments], check=True)


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command beside this, until the block ends."""
    print("$", *(f"{k}={v}" for k, v in environment.items()), "jobqueue", *arguments, flush=True)
    # In a group of its own, so that Ctrl-C reaches it only through this process.
    process = subprocess.Popen(
        [JOBQUEUE, *arguments], env={**os.environ, **environment}, start_new_session=True
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _open_browser() -> None:
    if os.environ.get("BROWSER") != "none" and sys.stdout.isatty():
        webbrowser.open(f"http://127.0.0.1:{PORT}")


def _end(_number: int, _frame: object) -> None:
    raise Ended


if __name__ == "__main__":
    sys.exit(main())
