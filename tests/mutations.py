"""Ways to break the package, each small, and the tests that have to notice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CONTRACT = "tests/adapters/test_contract.py"
INTERLEAVINGS = "tests/adapters/test_interleavings.py"
CRASHES = "tests/process/test_crash_points.py"
WAITS = "tests/test_waits.py"
POSTGRES, SQLITE, MEMORY = "TestPostgresAdapter", "TestSqliteAdapter", "TestMemoryAdapter"


@dataclass(frozen=True)
class Mutation:
    """Something that is promised, taken out.

    Args:
        name: what is missing then.
        where: a file or a folder of the package.
        old: the text that does it; it is in one file there, as often as it is.
        new: what stands there instead.
        tests: a file of tests, and which of them (`-k`).
        cheap: whether `make apart`, and with it CI, tries it.
    """

    name: str
    where: str
    old: str
    new: str
    tests: tuple[str, str]
    cheap: bool = False

    def find(self, package: Path) -> Path:
        """The file that has the text.

        Raises:
            AssertionError: the text is not there any more. Find out what does it now.
        """
        place = package / self.where
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        found = [path for path in files if self.old in path.read_text()]
        assert len(found) == 1, f"{self.name}: {self.old!r} is in {len(found)} files of {place}"
        return found[0]

    def apply(self, package: Path) -> None:
        """Break a copy of the package."""
        path = self.find(package)
        path.write_text(path.read_text().replace(self.old, self.new))


MUTATIONS = (
    Mutation(
        "the fence, on PostgreSQL",
        "adapters/postgres",
        " AND job.id = mine.id AND job.claim_token = mine.token",
        " AND job.id = mine.id",
        (CONTRACT, f"{POSTGRES} and rejected"),
        cheap=True,
    ),
    Mutation(
        "the fence around removals, on PostgreSQL",
        "adapters/postgres",
        "AND id = ANY ({rows}) AND claim_token = %(token)s",
        "AND id = ANY ({rows})",
        (CONTRACT, f"{POSTGRES} and rejected"),
    ),
    Mutation(
        "the fence, on SQLite",
        "adapters/sqlite",
        "WHERE job.id = mine.value ->> 0 AND job.claim_token = mine.value ->> 1",
        "WHERE job.id = mine.value ->> 0",
        (CONTRACT, f"{SQLITE} and claimed_again"),
    ),
    Mutation(
        "the fence around removals, on SQLite",
        "adapters/sqlite",
        "WHERE job.id = mine.value AND job.claim_token = :token",
        "WHERE job.id = mine.value",
        (CONTRACT, f"{SQLITE} and claimed_again"),
    ),
    Mutation(
        "the fence, in memory",
        "adapters/memory",
        "if row is None or row.token != settlement.token:",
        "if row is None:",
        (CONTRACT, f"{MEMORY} and claimed_again"),
    ),
    Mutation(
        "counting attempts, on PostgreSQL",
        "adapters/postgres",
        "attempts = least(attempts, 2147483646) + 1,",
        "attempts = attempts,",
        (CONTRACT, f"{POSTGRES} and counts_an_attempt"),
        cheap=True,
    ),
    Mutation(
        "counting attempts, on SQLite",
        "adapters/sqlite",
        "SET state = 'running', attempts = min(CAST(attempts AS INTEGER), 2147483646) + 1,",
        "SET state = 'running',",
        (CONTRACT, f"{SQLITE} and counts_an_attempt"),
    ),
    Mutation(
        "looking behind the low-water mark now and then",
        "adapters/postgres",
        "self._runs_dry or now - self._looked_at >= self.look_again_seconds",
        "self._runs_dry",
        ("tests/adapters/test_turns.py", "within_a_look"),
        cheap=True,
    ),
    Mutation(
        "charging a crash",
        "adapters/settlement.py",
        "crashes=int(job.guilty),",
        "crashes=0,",
        (CONTRACT, f"{SQLITE} and crash"),
    ),
    Mutation(
        "the third crash, which becomes the fourth",
        "adapters/sql",
        "JOBS.c.crashes >= freed.most_crashes - freed.crashes",
        "JOBS.c.crashes > freed.most_crashes - freed.crashes",
        (CONTRACT, f"{SQLITE} and crash"),
    ),
    Mutation(
        "the refund of what is given back",
        "adapters/settlement.py",
        "refund=1,",
        "refund=0,",
        (CONTRACT, f"{SQLITE} and released"),
        cheap=True,
    ),
    Mutation(
        "the refund of what a dead worker had not started",
        "adapters/sql",
        "attempts=_less(JOBS.c.attempts, freed.refund),",
        "attempts=JOBS.c.attempts,",
        (CONTRACT, f"{SQLITE} and refunds_the_rest"),
    ),
    Mutation(
        "remembering that a running job is to be cancelled",
        "adapters/postgres",
        "CASE WHEN mine.state IN ('ready', 'gated') AND job.cancel_requested_at IS NOT NULL",
        "CASE WHEN false",
        (CONTRACT, f"{POSTGRES} and cancel"),
    ),
    Mutation(
        "remembering that a job is to be cancelled whose worker is gone",
        "adapters/sql",
        "                (CANCEL_REQUESTED, JobState.CANCELLED.value),\n",
        "",
        (CONTRACT, f"{SQLITE} and dead_workers"),
    ),
    Mutation(
        "remembering that a running job is to be cancelled, in memory",
        "adapters/memory",
        "settlement.heeds_cancel and record.cancel_requested_at is not None",
        "False",
        (CONTRACT, f"{MEMORY} and cancel"),
    ),
    Mutation(
        "the heartbeat that a rescue has seen",
        "adapters/sql",
        "unchanged = _is_still_at(seen.heartbeat_at)",
        "unchanged = WORKERS.c.heartbeat_at == WORKERS.c.heartbeat_at",
        (CONTRACT, f"{SQLITE} and has_beaten_since"),
    ),
    Mutation(
        "the tokens of what a worker knows of",
        "adapters/sql",
        "if (job_id, token) not in held]",
        "if job_id not in {known for known, _ in held}]",
        (CONTRACT, f"{SQLITE} and strays"),
    ),
    Mutation(
        "SKIP LOCKED",
        "adapters/postgres/claim_statements.py",
        "FOR UPDATE SKIP LOCKED",
        "FOR UPDATE",
        ("tests/adapters/test_turns.py", "rolled_back"),
    ),
    Mutation(
        "pausing, on PostgreSQL",
        "adapters/postgres",
        "SELECT FROM {schema}.background_queues WHERE name = queue AND paused_at IS NOT NULL)",
        "SELECT FROM {schema}.background_queues WHERE false)",
        (CONTRACT, f"{POSTGRES} and paused_queue"),
    ),
    Mutation(
        "pausing, on SQLite",
        "adapters/sqlite",
        'PAUSED = "SELECT CAST(name AS TEXT) FROM background_queues WHERE paused_at IS NOT NULL"',
        'PAUSED = "SELECT CAST(name AS TEXT) FROM background_queues WHERE paused_at IS NULL"',
        (CONTRACT, f"{SQLITE} and paused_queue"),
    ),
    Mutation(
        "not prefetching what has a single attempt",
        "adapters/postgres",
        "SELECT min(max_attempts) > 1 AND ",
        "SELECT ",
        (CONTRACT, f"{POSTGRES} and single_attempt"),
    ),
    Mutation(
        "claiming no more than there is room for",
        "adapters/postgres",
        "> 1 AND sum(bytes) <= %(most_bytes)s FROM due",
        "> 1 FROM due",
        (CONTRACT, f"{POSTGRES} and room_for"),
    ),
    Mutation(
        "waiting the longer for a job that is performed alone",
        "worker/drains.py",
        "max(FIRST_DRAIN_SECONDS, (begun - since) * SHARE_OF_REST)",
        "FIRST_DRAIN_SECONDS",
        (WAITS, "gets_its_turn"),
    ),
    Mutation(
        "the order of the claim, on SQLite",
        "adapters/sqlite",
        "ORDER BY priority, run_at, id LIMIT :limit",
        "ORDER BY id LIMIT :limit",
        (CONTRACT, f"{SQLITE} and first_of_many"),
    ),
    Mutation(
        "the order of the claim, on PostgreSQL",
        "adapters/postgres",
        "ORDER BY job.run_at, job.id\n        LIMIT",
        "ORDER BY job.id\n        LIMIT",
        (CONTRACT, f"{POSTGRES} and first_of_many"),
    ),
    Mutation(
        "giving way to a worker that settles",
        "adapters/postgres",
        "return self.write_unless_locked(lambda connection: work(connection, False))",
        "return self.write(lambda connection: work(connection, False))",
        (INTERLEAVINGS, "differently"),
    ),
    Mutation(
        "reading the row again when an answer was lost",
        "worker",
        "if not _was_settled(outcome, record)",
        "if outcome is not None",
        (CRASHES, "breaks and sqlite and settle-after"),
    ),
    Mutation(
        "giving back what was claimed without the worker knowing",
        "worker",
        """        self._release_strays(but=settled.locked)
        if claim is not None:""",
        """        if claim is not None:""",
        (CRASHES, "breaks and sqlite and claim-after"),
        cheap=True,
    ),
    Mutation(
        "waking up for what has to go back",
        "worker/pump.py",
        "self._strays_due_at(), self._return_due_at(), self._locked.due_at)",
        "self._strays_due_at(), self._locked.due_at)",
        (WAITS, "claimed_with_a_slow_one or whatever"),
        cheap=True,
    ),
    Mutation(
        "holding no job for long behind others that are not slow",
        "worker/pump.py",
        "min(since, since if stuck_since is None else stuck_since)",
        "(NEVER if stuck_since is None else stuck_since)",
        (WAITS, "not_quite_slow"),
    ),
    Mutation(
        "publishing what is performed",
        "worker",
        "JOB_ID.pack_into(self._memory, start, claimed.id)",
        "JOB_ID.pack_into(self._memory, start, NO_JOB)",
        (CRASHES, "killed and sqlite"),
    ),
)
