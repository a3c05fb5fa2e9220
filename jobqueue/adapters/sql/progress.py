"""The progress of jobs: portable SQLAlchemy Core."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam, update

from jobqueue.adapters.sql import reads
from jobqueue.adapters.sql.base import SqlBase
from jobqueue.adapters.sql.tables import JOBS
from jobqueue.records import UNFINISHED_STATES, JobFilter


class SqlProgress(SqlBase):
    """The part of an adapter that stores how far jobs are."""

    def set_progress(self, job_id: int, progress: str) -> bool:
        """See `Adapter.set_progress`."""
        now = self._now()
        where = reads.conditions(JobFilter((job_id,), UNFINISHED_STATES), now)
        values = {"progress": json.loads(progress), "updated_at": now}
        return bool(self._execute(update(JOBS).where(*where).values(values)))

    def report_progress(self, reports: Mapping[tuple[int, int], str]) -> None:
        """See `Adapter.report_progress`."""
        statement = (
            update(JOBS)
            .where(JOBS.c.id == bindparam("job_id"), JOBS.c.claim_token == bindparam("token"))
            .values(
                progress=bindparam("report", type_=JOBS.c.progress.type), updated_at=self._now()
            )
        )
        # In ascending order of the ids, as settlements are, so that the two cannot deadlock.
        rows: list[dict[str, Any]] = [
            {"job_id": job_id, "token": token, "report": json.loads(progress)}
            for (job_id, token), progress in sorted(reports.items())
        ]
        if rows:
            self.database.write(lambda connection: connection.execute(statement, rows).rowcount)
