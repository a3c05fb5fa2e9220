"""Tables that somebody plants where the search path looks first, and the setting `schema`."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from psycopg import sql
from sqlalchemy import Column, Connection, Engine, Integer, create_engine, inspect, make_url, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateSchema

from jobqueue import Job, JobQueue
from jobqueue.adapters import Adapter, connect
from jobqueue.adapters.postgres.adapter import PostgresAdapter
from jobqueue.adapters.postgres.low_water import LowWater, LowWaterMarks
from jobqueue.adapters.sql.schema import migrate_within
from jobqueue.adapters.sql.tables import Base
from jobqueue.clock import ManualClock
from jobqueue.config import load_settings
from jobqueue.defaults import default_configuration
from jobqueue.errors import ConfigurationError, SchemaError
from jobqueue.records import Claim, JobFilter, JobState, NewJob, Succeeded
from jobqueue.testing.contract import (
    ControlContract,
    KeysContract,
    LeasesContract,
    PathContract,
    ReadsContract,
    RetentionContract,
    SchedulesContract,
    SchemaContract,
    StatsContract,
    TokensContract,
    TransactionContract,
    WakeupsContract,
)
from tests.adapters.test_migrations import enqueue_as_before
from tests.conftest import PATIENCE_SECONDS, PROJECT, Project, new_postgres_database

TOKENS_LIKE_OURS = """
CREATE TABLE background_tokens (id text PRIMARY KEY, name text, scopes json, secret_hash text,
                                created_at timestamptz, expires_at timestamptz,
                                revoked_at timestamptz);
INSERT INTO background_tokens
VALUES ('planted', 'mallory', '["operate"]', 'known', now(), NULL, NULL)
"""


@dataclass(frozen=True)
class Roles:
    """A database with two roles that are no friends of each other.

    Args:
        admin: the URL of its owner, a superuser.
        worker: the URL of the role that works on the tables, and its name.
        mallory: the URL of a role that may create schemas, and its name.
        owner_name: a name for a role of which the worker is a member.
    """

    admin: str
    worker: str
    worker_name: str
    mallory: str
    mallory_name: str
    owner_name: str


@pytest.fixture
def roles(empty_postgres_url: str) -> Iterator[Roles]:
    suffix = secrets.token_hex(4)
    worker, mallory, owner = (f"{name}_{suffix}" for name in ("worker", "mallory", "owner"))
    url = make_url(empty_postgres_url)
    with psycopg.connect(empty_postgres_url, autocommit=True) as admin:
        for name in (worker, mallory):
            admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        admin.execute(
            sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(
                sql.Identifier(url.database or ""), sql.Identifier(mallory)
            )
        )
        of_role = [
            url.set(username=name).render_as_string(hide_password=False)
            for name in (worker, mallory)
        ]
        yield Roles(empty_postgres_url, of_role[0], worker, of_role[1], mallory, owner)
        for role in map(sql.Identifier, (worker, mallory, owner)):
            with suppress(psycopg.errors.UndefinedObject):
                admin.execute(sql.SQL("DROP OWNED BY {0} CASCADE").format(role))
                admin.execute(sql.SQL("DROP ROLE {}").format(role))


def connected(url: str, schema: str | None = None) -> PostgresAdapter:
    adapter = connect(url, schema)
    assert isinstance(adapter, PostgresAdapter)
    return adapter


def migrated(url: str, schema: str | None = None) -> PostgresAdapter:
    adapter = connected(url, schema)
    adapter.migrate()
    return adapter


def run(url: str, *statements: str, **names: str) -> None:
    """Run statements, with names as identifiers."""
    quoted = {key: sql.Identifier(name) for key, name in names.items()}
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(sql.SQL(statement).format(**quoted))


def let_the_worker_use(url: str, schema: str, worker: str) -> None:
    run(
        url,
        "GRANT USAGE ON SCHEMA {schema} TO {worker}",
        "GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {worker}",
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO {worker}",
        schema=schema,
        worker=worker,
    )


def plant(roles: Roles, tables: str = TOKENS_LIKE_OURS) -> None:
    """Have Mallory make a schema of the worker's name, and tables in it."""
    run(
        roles.mallory,
        "CREATE SCHEMA {worker}",
        "SET search_path = {worker}; " + tables.replace("{", "{{").replace("}", "}}"),
        worker=roles.worker_name,
    )
    let_the_worker_use(roles.mallory, roles.worker_name, roles.worker_name)


# --- the plant -----------------------------------------------------------------------------------


def test_a_planted_token_is_not_accepted(roles: Roles) -> None:
    migrated(roles.admin).close()
    let_the_worker_use(roles.admin, "public", roles.worker_name)
    plant(roles)
    with closing(connected(roles.worker)) as adapter:
        assert adapter.find_token("planted") is None


PLANTED_JOB = """
INSERT INTO background_jobs (handler, run_at, created_at, updated_at)
VALUES ('Planted', now(), now(), now())
"""
JOB = NewJob("Work", "{}", "default", 50, 5)


def test_planted_tables_are_not_worked_on(roles: Roles) -> None:
    migrated(roles.admin).close()
    let_the_worker_use(roles.admin, "public", roles.worker_name)
    plant_all(roles)
    with closing(connected(roles.worker)) as adapter:
        (stored,) = adapter.enqueue([JOB])
        many = adapter.enqueue([JOB] * 1_000)
        assert adapter.count_jobs(JobFilter()) == 1_001
        claimed = adapter.claim(Claim("w", 7, 1_001, 1))
        assert {job.id for job in claimed} == {stored.id, *(job.id for job in many)}
        assert adapter.settle([Succeeded(job) for job in claimed]) == []
        assert adapter.schema_status().missing == ()
        assert adapter.health().facts["live_rows"] is not None
    with psycopg.connect(roles.admin) as connection:
        kept = sql.SQL("SELECT handler FROM {}.background_jobs").format(
            sql.Identifier(roles.worker_name)
        )
        assert connection.execute(kept).fetchall() == [("Planted",)]


def plant_all(roles: Roles) -> None:
    """Have Mallory plant all tables, and a job and a token in them."""
    planted = connected(roles.mallory, schema=roles.worker_name)
    planted.migrate()
    script = planted.migration_sql()
    assert f'CREATE SCHEMA IF NOT EXISTS "{roles.worker_name}"' in script
    planted.close()
    run(roles.mallory, "SET search_path = {worker}; " + PLANTED_JOB, worker=roles.worker_name)
    let_the_worker_use(roles.mallory, roles.worker_name, roles.worker_name)


def test_a_superuser_who_works_is_not_fooled_either(roles: Roles) -> None:
    """A superuser is a member of every role, as `pg_has_role` has it."""
    migrated(roles.admin).close()
    admin = make_url(roles.admin).username or "postgres"
    plant(replace(roles, worker_name=admin))
    with closing(connected(roles.admin)) as adapter:
        assert adapter.find_token("planted") is None


def test_tables_of_a_third_role_beside_planted_ones(roles: Roles) -> None:
    """They worked by the search path alone. Which are planted cannot be told, and is asked."""
    run(roles.admin, "CREATE SCHEMA shop AUTHORIZATION {mallory}", mallory=roles.mallory_name)
    of_the_third = connected(roles.mallory, schema="shop")
    of_the_third.migrate()
    of_the_third.close()
    let_the_worker_use(roles.admin, "shop", roles.worker_name)
    run(roles.admin, "ALTER ROLE {w} SET search_path = '$user', shop", w=roles.worker_name)
    with closing(connected(roles.worker)) as adapter:
        adapter.enqueue([JOB])
    plant_all(roles)
    with closing(connected(roles.worker)) as adapter:
        for use in (adapter.ping, adapter.migrate, lambda: adapter.enqueue([JOB])):
            with pytest.raises(SchemaError, match=r"worker_\w+ \(of .*shop \(of .*set `schema`"):
                use()
    with closing(connected(roles.worker, schema="shop")) as adapter:
        assert adapter.count_jobs(JobFilter()) == 1
        assert [job.handler for job in adapter.claim(Claim("w", 7, 5, 1))] == ["Work"]


def test_tables_that_are_planted_before_ours_are_there(roles: Roles) -> None:
    run(roles.admin, "GRANT CREATE ON SCHEMA public TO {w}", w=roles.worker_name)
    plant_all(roles)
    with (
        closing(connected(roles.worker)) as adapter,
        pytest.raises(SchemaError, match=r"of mallory_\w+\), a role that this one does not trust"),
    ):
        adapter.migrate()


def test_a_schema_that_is_planted_gets_no_tables(roles: Roles) -> None:
    run(roles.admin, "GRANT CREATE ON SCHEMA public TO {w}", w=roles.worker_name)
    run(
        roles.mallory,
        "CREATE SCHEMA {w}",
        "GRANT ALL ON SCHEMA {w} TO {w}",
        w=roles.worker_name,
    )
    with closing(migrated(roles.worker)) as adapter:
        assert adapter.schema_status().schema == "public"
    run(roles.admin, "ALTER ROLE {w} SET search_path = '$user'", w=roles.worker_name)
    with (
        closing(connected(roles.worker)) as adapter,
        pytest.raises(SchemaError, match=r"search path leads to worker.*set `schema`"),
    ):
        adapter.migrate()


def test_a_table_that_anybody_may_make_is_not_taken_for_ours(roles: Roles) -> None:
    """Before PostgreSQL 15 everybody may create tables in `public`."""
    run(roles.admin, "GRANT CREATE ON SCHEMA public TO PUBLIC", "CREATE SCHEMA shop")
    migrated(roles.admin, schema="shop").close()
    let_the_worker_use(roles.admin, "shop", roles.worker_name)
    with closing(connected(roles.mallory, schema="public")) as planted:
        planted.migrate()
    let_the_worker_use(roles.mallory, "public", roles.worker_name)
    run(roles.admin, "ALTER ROLE {w} SET search_path = public, shop", w=roles.worker_name)
    with closing(connected(roles.worker)) as adapter:
        assert adapter.schema_status().schema == "shop"


def test_tables_of_a_role_that_the_worker_is_a_member_of(roles: Roles) -> None:
    """The usual way to share them, which needs no setting."""
    run(roles.admin, "CREATE ROLE {o}", "GRANT {o} TO {w}", o=roles.owner_name, w=roles.worker_name)
    run(roles.admin, "CREATE SCHEMA {o} AUTHORIZATION {o}", o=roles.owner_name)
    with closing(connected(roles.worker, schema=roles.owner_name)) as adapter:
        adapter.migrate()
    run(
        roles.admin,
        "ALTER ROLE {w} SET search_path = '$user', {o}",
        w=roles.worker_name,
        o=roles.owner_name,
    )
    plant_all(roles)
    with closing(connected(roles.worker)) as adapter:
        assert adapter.schema_status().schema == roles.owner_name
        adapter.migrate()


# --- the setting ---------------------------------------------------------------------------------

HOSTILE = 'Queue "of" 100%(x)s :now \\ {now}\'; drop'


def nowhere(url: str) -> str:
    """The URL of connections whose search path leads to no tables."""
    options = {"options": "-csearch_path=pg_catalog"}
    return make_url(url).update_query_dict(options).render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def migrated_in_schema(postgres_server: str) -> Iterator[str]:
    with new_postgres_database(postgres_server) as url:
        adapter = PostgresAdapter(nowhere(url), schema=HOSTILE)
        adapter.migrate()
        adapter.close()
        yield url


class TestPostgresAdapterInASchema(
    PathContract,
    WakeupsContract,
    LeasesContract,
    ReadsContract,
    ControlContract,
    RetentionContract,
    SchedulesContract,
    StatsContract,
    TokensContract,
    KeysContract,
    SchemaContract,
    TransactionContract,
):
    """Every statement names the schema, whatever it is called: no search path helps here."""

    @pytest.fixture
    def adapter(self, migrated_in_schema: str, clock: ManualClock) -> Iterator[Adapter]:
        tables = [sql.Identifier(HOSTILE, name) for name in Base.metadata.tables]
        with psycopg.connect(migrated_in_schema, autocommit=True) as connection:
            truncate = sql.SQL("TRUNCATE {} RESTART IDENTITY")
            connection.execute(truncate.format(sql.SQL(", ").join(tables)))
        made = PostgresAdapter(nowhere(migrated_in_schema), schema=HOSTILE, clock=clock)
        made.path.low_water_marks = LowWaterMarks(
            new=lambda queues: LowWater(queues, lambda: clock.now().timestamp())
        )
        yield made
        made.close()


class Called(Job):
    name = "schema.Called"

    def perform(self, number: int) -> None: ...


def test_what_needs_more_than_the_contract(migrated_in_schema: str) -> None:
    with closing(PostgresAdapter(nowhere(migrated_in_schema), schema=HOSTILE)) as adapter:
        assert adapter.schema_status().schema == HOSTILE
        assert [ailment.kind for ailment in adapter.health().ailments] == []
        assert len(adapter.enqueue([JOB] * 2_000)) == 2_000
        listener = adapter.listen()
        for jobs in ([JOB], [JOB, JOB]):
            adapter.enqueue(jobs)
            assert listener.wait(PATIENCE_SECONDS) is not None
        listener.close()
        adapter.migrate()
        assert adapter.delete(JobFilter()) == 2_003


def test_an_index_is_made_in_the_schema(migrated_in_schema: str) -> None:
    with (
        closing(PostgresAdapter(nowhere(migrated_in_schema), schema=HOSTILE)) as adapter,
        psycopg.connect(migrated_in_schema, autocommit=True) as admin,
    ):
        index = sql.Identifier(HOSTILE, "background_jobs_kept_idx")
        admin.execute(sql.SQL("DROP INDEX {}").format(index))
        (ailment,) = adapter.health().ailments
        admin.execute(ailment.remedy.encode())
        assert adapter.health().ailments == ()


@pytest.mark.parametrize(
    "make", [Session, Connection, psycopg.Connection], ids=["session", "connection", "psycopg"]
)
def test_a_job_goes_into_the_schema_with_the_rows_of_the_application(
    migrated_in_schema: str, make: Any
) -> None:
    """The application's connection has a search path of its own, with tables of that name."""
    url = make_url(nowhere(migrated_in_schema)).set(drivername="postgresql+psycopg")
    engine = create_engine(url)
    with closing(PostgresAdapter(migrated_in_schema, schema=HOSTILE)) as adapter:
        for jobs in ([JOB], [JOB] * 2, [JOB] * 1_000):
            with in_transaction(engine, make) as session:
                adapter.enqueue(jobs, session=session)
            assert adapter.delete(JobFilter()) == len(jobs)
    engine.dispose()


@contextmanager
def in_transaction(engine: Engine, make: Any) -> Iterator[Any]:
    if make is Session:
        with Session(engine) as session, session.begin():
            yield session
    elif make is Connection:
        with engine.begin() as connection:
            yield connection
    else:
        plain = engine.url.set(drivername="postgresql")
        with psycopg.connect(plain.render_as_string(hide_password=False)) as bare:
            yield bare


def test_asyncpg_finds_the_schema_too(empty_postgres_url: str) -> None:
    adapter = PostgresAdapter(empty_postgres_url, schema="100% of :it")
    adapter.migrate()

    async def store() -> None:
        engine = create_async_engine(
            make_url(empty_postgres_url).set(drivername="postgresql+asyncpg")
        )
        async with AsyncSession(engine) as session, session.begin():
            await Called.set(session=session).perform_later_async(1)
        await engine.dispose()

    Job.config(adapter=adapter)
    asyncio.run(store())
    assert adapter.count_jobs(JobFilter()) == 1
    adapter.close()
    default_configuration.reset()


class Writes(Job):
    name = "schema.Writes"

    def perform(self) -> None:
        with self.transaction() as session:
            session.execute(text("CREATE TABLE of_the_application (n int)"))
            Called.perform_later(1)


def test_a_job_of_its_own_transaction_writes_where_the_application_does(
    empty_postgres_url: str,
) -> None:
    with closing(migrated(empty_postgres_url, schema="jobs")) as adapter:
        Job.config(adapter=adapter)
        queue = JobQueue(adapter)
        queue.enqueue(Writes)
        assert queue.work_off().succeeded == 2
        default_configuration.reset()
    with psycopg.connect(empty_postgres_url) as connection:
        found = "SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = %s"
        assert connection.execute(found, ("of_the_application",)).fetchall() == [("public",)]
        assert connection.execute(found, ("background_jobs",)).fetchall() == [("jobs",)]


def test_two_installations_in_one_database(empty_postgres_url: str) -> None:
    """With workers on both at the same time, which hear of their own jobs only."""
    adapters = [migrated(empty_postgres_url, schema=name) for name in ("one", "two")]
    assert not adapters[0].is_same_database(adapters[1])
    listeners = [adapter.listen() for adapter in adapters]
    queues = [JobQueue(adapter, poll_interval=60) for adapter in adapters]
    for number, queue in enumerate(queues):
        queue.enqueue(Called.set(queue=f"queue{number}"), number)
        assert listeners[number].wait(PATIENCE_SECONDS) is not None
        assert listeners[1 - number].wait(0.1) is None
        adapters[number].pause_queues([f"queue{number}"])
    for number, adapter in enumerate(adapters):
        assert [depth.queue for depth in adapter.queue_depths()] == [f"queue{number}"]
        adapter.resume_queues([f"queue{number}"])
    with queues[0].running(), queues[1].running():
        for number, queue in enumerate(queues):
            for _ in range(20):
                queue.enqueue(Called, number)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while any(adapter.count_jobs(UNDONE) for adapter in adapters):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert [len(adapter.workers()) for adapter in adapters] == [1, 1]
    for listener in listeners:
        listener.close()
    for adapter in adapters:
        adapter.close()


UNDONE = JobFilter(states=(JobState.READY, JobState.RUNNING))


# --- migrations ----------------------------------------------------------------------------------


def test_the_schema_is_created_and_the_tables_move_up_and_down(empty_postgres_url: str) -> None:
    with closing(connected(empty_postgres_url, schema=HOSTILE)) as adapter:
        with pytest.raises(SchemaError, match="jobqueue migrate"):
            adapter.ping()
        assert adapter.schema_status().current is None
        adapter.migrate("0001")
        adapter.migrate()
        adapter.migrate()
        status = adapter.schema_status()
        assert (status.current, status.missing, status.trouble) == (status.head, (), None)
        adapter.downgrade("base")
        assert adapter.schema_status().current is None


def test_a_schema_that_may_not_be_created(roles: Roles) -> None:
    with closing(connected(roles.worker, schema="jobs")) as adapter:
        with pytest.raises(SchemaError, match=r'no schema "jobs".*CREATE SCHEMA "jobs" AUTHORIZ'):
            adapter.migrate()
        run(roles.admin, "CREATE SCHEMA jobs")
        with pytest.raises(SchemaError, match=r'may not use the schema "jobs".*GRANT USAGE'):
            adapter.migrate()
        run(roles.admin, "GRANT USAGE, CREATE ON SCHEMA jobs TO {w}", w=roles.worker_name)
        adapter.migrate()
        assert adapter.enqueue([JOB])


def test_the_printed_statements_make_the_schema(empty_postgres_url: str) -> None:
    with closing(connected(empty_postgres_url, schema='the "jobs": {of} it')) as adapter:
        with psycopg.connect(empty_postgres_url, autocommit=True) as connection:
            connection.execute(adapter.migration_sql().encode())
            path = connection.execute("SHOW search_path").fetchone()
            assert path == ('"$user", public',)
        status = adapter.schema_status()
        assert (status.current, status.missing) == (status.head, ())
        upgrade = adapter.migration_sql("0001")
        assert "SET LOCAL search_path" in upgrade
        assert "CREATE SCHEMA" not in upgrade


def test_a_migration_of_the_application_makes_them_in_a_schema(empty_postgres_url: str) -> None:
    url = make_url(empty_postgres_url).set(drivername="postgresql+psycopg")
    engine, place = create_engine(url), 'the "jobs" :in 100%'
    with closing(connected(empty_postgres_url, schema=place)) as adapter, engine.begin() as own:
        own.execute(CreateSchema(place))
        with Operations.context(MigrationContext.configure(own)) as operations:
            migrate_within(None, "0001", schema=place)
            operations.create_table("of_the_application", Column("n", Integer))
            migrate_within("0001", "0004", schema=place)
        own.commit()
        assert inspect(engine).get_table_names() == ["of_the_application"]
        status = adapter.schema_status()
        assert (status.current, status.missing) == (status.head, ())
    with engine.begin() as own, Operations.context(MigrationContext.configure(own)):
        migrate_within("0004", None, schema=place)
    assert inspect(engine).get_table_names(schema=place) == []
    engine.dispose()


def test_alembic_finds_no_drift_in_a_schema(empty_postgres_url: str) -> None:
    migrated(empty_postgres_url, schema="jobs").close()
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", "alembic.ini", "check"],
        cwd=PROJECT,
        env={**os.environ, "JOBS_DATABASE_URL": empty_postgres_url, "JOBS_SCHEMA": "jobs"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "No new upgrade operations" in done.stdout) == (0, True), done.stderr


def test_the_tables_stay_where_a_former_release_has_made_them(roles: Roles) -> None:
    """In the schema of the role's own name, say, with jobs in them."""
    run(roles.admin, "CREATE SCHEMA {w} AUTHORIZATION {w}", w=roles.worker_name)
    with closing(connected(roles.worker)) as adapter:
        adapter.migrate("0002")
        assert adapter.schema_status().schema == roles.worker_name
        enqueue_as_before(adapter, JOB.handler)
    with closing(migrated(roles.worker)) as adapter:
        assert adapter.schema_status().schema == roles.worker_name
        assert [job.handler for job in adapter.list_jobs(UNDONE, 10)] == [JOB.handler]


# --- wrong values --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", " ", "x" * 64, "ö" * 32, "pg_jobs", "information_schema", "a\0b", "a\nb", "\ud800"]
)
def test_a_name_that_no_schema_can_have(name: str) -> None:
    for refused in (
        lambda: load_settings({"schema": name}),
        lambda: load_settings(environ={"JOBS_SCHEMA": name}),
        lambda: PostgresAdapter("postgresql://localhost/shop", schema=name),
    ):
        with pytest.raises(
            ConfigurationError, match=r"(?is)schema is .*expected the name of a schema"
        ):
            refused()


@pytest.mark.parametrize("url", ["memory://", "sqlite:///jobs.sqlite3"])
def test_a_database_without_schemas(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"`schema` is 'jobs', and .* has no schemas"):
        connect(url, schema="jobs")
    with pytest.raises(ConfigurationError, match="has no schemas"):
        JobQueue(database_url=url, schema="jobs")


def test_it_goes_all_the_way_to_the_workers(project: Project) -> None:
    project.write("jobs.py", APP)
    env = {"JOBS_SCHEMA": "of_the_shop"}
    assert project.jobs("setup", "--schema", "of_the_shop").exit_code == 0
    assert 'schema = "of_the_shop"' in (project.folder / "jobqueue.toml").read_text()
    (project.folder / "jobqueue.toml").unlink()
    for _ in range(3):
        assert project.jobs("enqueue", "Quick", env=env).exit_code == 0
    assert project.jobs("workoff", "-n", "1", env=env).exit_code == 0
    listed = project.jobs("list", "--json", "--schema", "of_the_shop")
    assert [job["state"] for job in json.loads(listed.out)] == ["succeeded"] * 3
    examined = json.loads(project.jobs("doctor", "--json", env=env).out)
    assert examined["schema"]["name"] == "of_the_shop"
    assert examined["settings"]["schema"] == {"value": "of_the_shop", "source": "JOBS_SCHEMA"}
    assert json.loads(project.jobs("list", "--json").out) == []


APP = """
    from jobqueue import Job


    class Quick(Job):
        keep_succeeded = True

        def perform(self) -> None: ...
"""


@pytest.fixture
def project(empty_project: Project, postgres_url: str) -> Iterator[Project]:
    environment = {**empty_project.environment, "JOBS_DATABASE_URL": postgres_url}
    yield replace(empty_project, environment=environment)
    run(postgres_url, "DROP SCHEMA IF EXISTS of_the_shop CASCADE")
