"""The name of the schema that holds the tables, as statements have it.

Every statement names it. Otherwise the tables would be wherever the search path of a connection
finds one of that name first, and that place can be somebody else's: `"$user"` comes first in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from jobqueue.adapters.sql.named import quoted


@dataclass(frozen=True, slots=True)
class SchemaName:
    """A schema of PostgreSQL.

    Args:
        name: as the catalog has it.
    """

    name: str

    @property
    def quoted(self) -> str:
        """As an identifier."""
        return quoted(self.name)

    def written_into(self, template: str, **values: str) -> str:
        """A statement in the driver's own style.

        Args:
            template: with `{schema}` before the names of tables, and `{jobs}` where a text names
                the table of the jobs.
            values: what else is put into it.
        """
        identifier = self.quoted.replace("%", "%%")
        jobs = _text(f"{identifier}.background_jobs")
        return template.format(schema=identifier, jobs=jobs, **values)


def _text(value: str) -> str:
    """As text in a statement, whatever the server takes a backslash for."""
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"
