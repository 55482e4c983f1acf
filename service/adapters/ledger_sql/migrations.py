"""Numbered SQL files: which there are, which a ledger has, and when to refuse to start."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable


class MigrationError(Exception):
    """The ledger's schema is not one this program may work with; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One numbered SQL file; `checksum` is the SHA-256 of its bytes, in hex."""

    number: int
    name: str
    sql: str
    checksum: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What a ledger remembers of a migration; `at` is seconds since the epoch."""

    number: int
    name: str
    checksum: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationStatus:
    """One line of `cordboard migrate --status`; `applied_at` is None while it is pending."""

    number: int
    name: str
    applied_at: float | None


def available(dialect: str) -> tuple[Migration, ...]:
    """The migrations that ship for a dialect (a folder of `ledger_sql`), in their order."""
    return read_folder(files("service.adapters.ledger_sql").joinpath(dialect))


def read_folder(folder: Traversable) -> tuple[Migration, ...]:
    """Read `NNNN_name.sql` files; raises MigrationError when two carry one number."""
    found = sorted((_read(file) for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda m: m.number)
    numbers = [migration.number for migration in found]
    if len(set(numbers)) != len(numbers):
        raise MigrationError(f"two migrations carry one number: {numbers}")
    return tuple(found)


def _read(file: Traversable) -> Migration:
    content = file.read_bytes()
    number, _, name = file.name.removesuffix(".sql").partition("_")
    return Migration(number=int(number), name=name, sql=content.decode(), checksum=hashlib.sha256(content).hexdigest())


def pending(shipped: Sequence[Migration], applied: Sequence[Applied]) -> tuple[Migration, ...]:
    """What is still to be applied.

    Raises MigrationError when the ledger has a migration that this program does not know, or one whose file
    has changed since it was applied.
    """
    known = {migration.number: migration for migration in shipped}
    for row in applied:
        _check(row, known)
    done = {row.number for row in applied}
    return tuple(migration for migration in shipped if migration.number not in done)


def _check(row: Applied, known: Mapping[int, Migration]) -> None:
    label = f"{row.number:04d}_{row.name}"
    migration = known.get(row.number)
    if migration is None:
        raise MigrationError(f"the ledger has migration {label}, unknown to this version: run the newer one again")
    if migration.checksum != row.checksum:
        raise MigrationError(f"migration {label} was changed after the ledger applied it: restore the shipped file")


def statuses(shipped: Sequence[Migration], applied: Sequence[Applied]) -> tuple[MigrationStatus, ...]:
    """Every shipped migration with when it was applied; raises as `pending` does."""
    pending(shipped, applied)
    times = {row.number: row.at for row in applied}
    return tuple(MigrationStatus(number=m.number, name=m.name, applied_at=times.get(m.number)) for m in shipped)
