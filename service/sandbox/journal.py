"""The ground truth: one entry per request, appended before its answer is written, and pure checks over the entries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self

import orjson

from service.sandbox.arrival import Arrival

QuotaVerdict = Literal["accepted", "refused", "not_counted"]
Reply = Literal["sent", "dropped", "delayed", "late", "truncated"]
CONSOLE = "console"
"""The vendor of entries that a person made at the console (approvals, refusals), not a request."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One request. ``seq`` is the order in which effects happened; ``arrival`` is when the head was read."""

    seq: int = 0
    """Given by the journal, from 1 without gaps."""
    arrival: float
    """Monotonic seconds, comparable between processes of one machine."""
    unseen: float = 0.0
    """For so long before that nobody had looked: it may have come that much earlier."""
    wall: float
    """Unix seconds of the arrival, by the real clock."""
    vendor: str
    account: str | None = None
    """Secret id or app key; None when the request could not be attributed."""
    site: str | None = None
    app: str | None = None
    """SdkAppId, as text; None for Huawei."""
    action: str | None
    natural_key: str | None = None
    """``extension:<app>/<id>``, ``number:<app>/<stored number>``, ``route:<app key>/<access code>/<ext code>``,
    or what a read asked for."""
    body_digest: str = ""
    """Hex SHA-256 of the body; empty without a body."""
    signature: str = "none"
    """``ok``, ``none``, or the code it was refused with."""
    quota: QuotaVerdict = "not_counted"
    fault: str | None = None
    """The fault kinds that struck, joined by ``+``."""
    effect_applied: bool = False
    effect: str | None = None
    """``created``, ``modified``, ``applied`` (a number form), ``bound``, ``token``;
    at the console also ``approved``, ``refused``."""
    changed: bool = False
    """False when the effect wrote what already stood there."""
    wanted: Mapping[str, Any] | None = None
    """What a write asked for, without secrets."""
    reply: Reply = "sent"
    status: int
    result: str
    """``ok``, the vendor's error code, or ``HTTP <status>``: what the reply said, even if it was dropped."""
    request_id: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The entry as JSON."""
        return {name: getattr(self, name) for name in _ENTRY_FIELDS}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read back what :meth:`as_dict` gave."""
        return cls(**document)


_ENTRY_FIELDS = tuple(declared.name for declared in fields(Entry))


class Journal:
    """Append-only, in memory and, with a path, as JSON lines that are flushed one by one."""

    def __init__(self, path: Path | None = None) -> None:
        self._entries: list[Entry] = []
        self._before = _last_seq(path) if path is not None else 0
        self._file: IO[bytes] | None = path.open("ab") if path is not None else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def entries(self) -> list[Entry]:
        """Every entry of this run, oldest first (a copy)."""
        return list(self._entries)

    @property
    def last_seq(self) -> int:
        """The newest entry's number; a file that is continued goes on counting."""
        return self._before + len(self._entries)

    def after(self, seq: int) -> list[Entry]:
        """The entries of this run that are newer than ``seq``."""
        return self._entries[max(0, seq - self._before) :]

    def append(self, entry: Entry) -> Entry:
        """Number the entry and write it; with a file it has left this process on return."""
        numbered = replace(entry, seq=self.last_seq + 1)
        self._entries.append(numbered)
        if self._file is not None:
            self._file.write(orjson.dumps(numbered.as_dict()) + b"\n")
            self._file.flush()
        return numbered

    def close(self) -> None:
        """Close the file; entries in memory stay readable."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read_journal(path: Path) -> list[Entry]:
    """Entries of a journal file; a last line that a killed process left incomplete is skipped."""
    lines = path.read_bytes().split(b"\n")[:-1]
    return [Entry.from_dict(orjson.loads(line)) for line in lines]


@dataclass(frozen=True, kw_only=True)
class OverfullWindow:
    """A one-second window that held more arrivals than the quota; ``start`` in monotonic seconds."""

    vendor: str
    account: str
    action: str
    start: float
    arrivals: int
    quota: int


def windows_over_quota(
    entries: Iterable[Entry], quotas: Mapping[str, Mapping[str, int]], *, window: float = 1.0
) -> list[OverfullWindow]:
    """Every window of ``window`` seconds that held more arrivals than allowed for sure, whatever became of them.

    What the sandbox may have seen late is taken for the caller's best: at its earliest at a window's start.
    ``quotas``: vendor → operation (or ``default``) → requests per second. One finding per window start.
    Requests that could not be attributed to an account are left out.
    """
    arrivals: dict[tuple[str, str, str], list[Arrival]] = defaultdict(list)
    for entry in entries:
        if entry.vendor in quotas and entry.account is not None and entry.action is not None:
            arrivals[entry.vendor, entry.account, entry.action].append(Arrival(entry.arrival, entry.unseen))
    found = []
    for (vendor, account, action), times in arrivals.items():
        quota = quotas[vendor].get(action, quotas[vendor].get("default"))
        if quota is None:
            continue
        for start, held in _counts(sorted(times), window):
            if held > quota:
                found.append(
                    OverfullWindow(
                        vendor=vendor, account=account, action=action, start=start, arrivals=held, quota=quota
                    )
                )
    return found


def duplicate_effects(entries: Iterable[Entry]) -> list[tuple[str, str, list[Entry]]]:
    """Natural keys (vendor, key, entries) that were created or applied for more than once.

    A number whose form a person refused at the console may be applied for again.
    """
    applied: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    found = []
    for entry in entries:
        if not entry.effect_applied or entry.natural_key is None:
            continue
        if entry.vendor == CONSOLE and entry.effect == "refused":
            found += _ended(applied, entry.natural_key)
        elif entry.effect in {"created", "applied"}:
            applied[entry.vendor, entry.natural_key].append(entry)
    return found + [(vendor, key, held) for (vendor, key), held in applied.items() if len(held) > 1]


def utilisation(entries: Iterable[Entry], action: str, quota: int, *, account: str | None = None) -> float:
    """Share of a quota used between first and last arrival: (n-1) / (quota * (last-first)); 0 below two arrivals."""
    times = [e.arrival for e in entries if e.action == action and (account is None or e.account == account)]
    if len(times) < 2 or max(times) == min(times):
        return 0.0
    return (len(times) - 1) / (quota * (max(times) - min(times)))


def _ended(applied: dict[tuple[str, str], list[Entry]], natural_key: str) -> list[tuple[str, str, list[Entry]]]:
    keys = [key for key in applied if key[1] == natural_key]
    ended = [(vendor, key, applied.pop((vendor, key))) for vendor, key in keys]
    return [finding for finding in ended if len(finding[2]) > 1]


def _counts(arrivals: list[Arrival], window: float) -> Iterable[tuple[float, int]]:
    for first, start in enumerate(arrivals):
        last = first
        while last < len(arrivals) and arrivals[last].at - start.earliest < window:
            last += 1
        yield start.at, last - first


def _last_seq(path: Path) -> int:
    if not path.exists():
        return 0
    entries = read_journal(path)
    return entries[-1].seq if entries else 0
