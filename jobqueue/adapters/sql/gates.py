"""The gates that jobs pass: who holds slots there, and how many have started.

A slot counts while its job runs under the token that it was claimed with. Nothing gives it back:
what ends the job, or frees it, is enough. All of this is done under the locks of the gates, so that
no two claims count the same slot as free.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, delete, func, insert, select, update

from jobqueue.adapters.gate_room import GateRoom, counted_time, part_of
from jobqueue.adapters.sql.named import Named
from jobqueue.adapters.sql.readings import span
from jobqueue.adapters.sql.tables import LIMITS, SLOTS, STARTS, to_name, to_utc
from jobqueue.records import NO_DELAY, Gate, GateUse

_GATES: BindParameter[Any] = bindparam("gates", expanding=True)

# The subquery looks for one job each time: without its OFFSET, PostgreSQL might read all jobs.
_IS_HELD = """EXISTS (
    SELECT 1 FROM {schema}.background_jobs AS job
    WHERE job.id = slot.job_id AND job.claim_token = slot.claim_token LIMIT 1 OFFSET 0)"""
HELD_SLOTS = Named(
    f"""
SELECT slot.gate AS gate, count(*) AS number
FROM {{schema}}.background_slots AS slot WHERE slot.gate IN :gates AND {_IS_HELD}
GROUP BY slot.gate
""",  # noqa: S608 - of constants
    _GATES,
)
FREE_SLOTS = Named(
    f"""
DELETE FROM {{schema}}.background_slots AS slot
WHERE slot.gate IN :gates AND NOT {_IS_HELD}
""",  # noqa: S608 - of constants
    _GATES,
)
LAST_PLACES = Named(
    """
SELECT gate, max(place) AS place FROM {schema}.background_slots WHERE gate IN :gates GROUP BY gate
""",
    _GATES,
)


def room_at(connection: Connection, gates: Collection[Gate], now: datetime) -> GateRoom:
    """The room at gates that are locked."""
    by_name = _as_declared(connection, gates)
    limits = [name for name, gate in by_name.items() if gate.per is None]
    rates = {name: gate for name, gate in by_name.items() if gate.per is not None}
    used = _slots_held(connection, limits) | _started(connection, rates, now)
    left = {name: max(gate.number - used.get(name, 0), 0) for name, gate in by_name.items()}
    spent = [gate for name, gate in rates.items() if not left[name] and gate.number > 0]
    return GateRoom(left, _free_in(connection, spent, now), by_name)


def _as_declared(connection: Connection, gates: Collection[Gate]) -> dict[str, Gate]:
    """The gates by name. What somebody has set counts, then what a worker has declared last.

    So a job that was enqueued by another release is no exception.
    """
    if not gates:
        return {}
    columns = (LIMITS.c.name, LIMITS.c.number, LIMITS.c.set_number, LIMITS.c.per_seconds)
    query = select(*columns).where(LIMITS.c.name.in_(sorted({gate.limit for gate in gates})))
    declared = {
        to_name(row.name): (
            row.number if row.set_number is None else row.set_number,
            None if row.per_seconds is None else span(row.per_seconds),
        )
        for row in connection.execute(query)
    }
    return {
        gate.name: Gate(gate.limit, gate.key, *declared.get(gate.limit, (gate.number, gate.per)))
        for gate in gates
    }


def _slots_held(connection: Connection, gates: Collection[str]) -> dict[str, int]:
    if not gates:
        return {}
    connection.execute(FREE_SLOTS.on(connection), {"gates": sorted(gates)})
    return held_slots(connection, gates)


def held_slots(connection: Connection, gates: Collection[str]) -> dict[str, int]:
    """How many jobs hold a slot at gates, by name."""
    rows = connection.execute(HELD_SLOTS.on(connection), {"gates": sorted(gates)})
    return {to_name(row.gate): row.number for row in rows}


def uses_of(connection: Connection, gates: Sequence[Gate], now: datetime) -> list[GateUse]:
    """How much of each gate is used. Nothing is locked or removed for that."""
    by_name = _as_declared(connection, gates)
    limits = [name for name, gate in by_name.items() if gate.per is None]
    held = held_slots(connection, limits) if limits else {}
    return [_use_of(connection, by_name[gate.name], held, now) for gate in gates]


def _use_of(connection: Connection, gate: Gate, held: Mapping[str, int], now: datetime) -> GateUse:
    if gate.per is None:
        return GateUse(gate, held.get(gate.name, 0))
    began = STARTS.c.begun_at
    query = select(func.sum(STARTS.c.number), func.min(began))
    query = query.where(STARTS.c.gate == gate.name, began > now - counted_time(gate))
    number, first = connection.execute(query).one()
    if not number or number < gate.number:
        return GateUse(gate, number or 0)
    return GateUse(gate, number, max(to_utc(first) + counted_time(gate) - now, NO_DELAY))


def _started(connection: Connection, rates: Mapping[str, Gate], now: datetime) -> dict[str, int]:
    started: dict[str, int] = {}
    for name, gate in rates.items():
        begin = now - counted_time(gate)
        connection.execute(delete(STARTS).where(STARTS.c.gate == name, STARTS.c.begun_at <= begin))
        query = select(func.sum(STARTS.c.number)).where(STARTS.c.gate == name)
        started[name] = connection.execute(query).scalar() or 0
    return started


def _free_in(connection: Connection, spent: Iterable[Gate], now: datetime) -> timedelta | None:
    """How soon the first of some rates lets another job start."""
    times = []
    for gate in spent:
        query = select(func.min(STARTS.c.begun_at)).where(STARTS.c.gate == gate.name)
        first = connection.execute(query).scalar()
        if first is not None:
            times.append(to_utc(first) + counted_time(gate) - now)
    return max(min(times), NO_DELAY) if times else None


def hold_slots(
    connection: Connection, taken: Collection[tuple[Gate, int, int]], now: datetime
) -> None:
    """Note which job, under which token, passes which gate; and how many start at rates."""
    limits = [each for each in taken if each[0].per is None]
    if limits:
        connection.execute(insert(SLOTS), _slots(connection, limits, now))
    starts: dict[str, tuple[Gate, int]] = {}
    for gate, _, _ in taken:
        if gate.per is not None:
            starts[gate.name] = (gate, starts.get(gate.name, (gate, 0))[1] + 1)
    for gate, number in starts.values():
        _note_starts(connection, gate, number, now)


def _slots(
    connection: Connection, taken: Collection[tuple[Gate, int, int]], now: datetime
) -> list[dict[str, Any]]:
    """The rows of slots. Places go up, so that a count need not walk over what was removed."""
    names = sorted({gate.name for gate, _, _ in taken})
    rows = connection.execute(LAST_PLACES.on(connection), {"gates": names})
    last = {to_name(row.gate): row.place for row in rows}
    first = int(now.timestamp() * 1_000_000)
    places = {name: max(first, last.get(name, 0)) for name in names}
    slots = []
    for gate, job_id, token in taken:
        places[gate.name] += 1
        slots.append(
            {
                "gate": gate.name,
                "place": places[gate.name],
                "job_id": job_id,
                "claim_token": token,
            }
        )
    return slots


def _note_starts(connection: Connection, gate: Gate, number: int, now: datetime) -> None:
    begun_at = part_of(gate, now)
    is_it = (STARTS.c.gate == gate.name) & (STARTS.c.begun_at == begun_at)
    added = update(STARTS).where(is_it).values(number=STARTS.c.number + number)
    if not connection.execute(added).rowcount:
        connection.execute(
            insert(STARTS), {"gate": gate.name, "begun_at": begun_at, "number": number}
        )
