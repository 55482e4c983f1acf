"""Fault switches: what goes wrong, for which requests, how often; set at start or while running."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from random import Random
from typing import Any


class FaultKind(StrEnum):
    """Everything that can be made to go wrong."""

    LATENCY = "latency"  # wait `seconds`, then handle
    LATE_REPLY = "late_reply"  # handle, then wait `seconds` before the reply
    REPLY_LOST_BEFORE = "reply_lost_before"  # close the connection, nothing applied
    REPLY_LOST_AFTER = "reply_lost_after"  # apply, close the connection
    DBERROR_BEFORE = "dberror_before"  # InternalError.DBError (Huawei: 500), nothing applied
    DBERROR_AFTER = "dberror_after"
    HTTP_BEFORE = "http_before"  # a gateway's `status` (default 502) and an HTML page, nothing applied
    HTTP_AFTER = "http_after"
    ERROR_BEFORE = "error_before"  # the vendor's envelope with `code`, nothing applied
    ERROR_AFTER = "error_after"
    THROTTLE = "throttle"  # RequestLimitExceeded (or `code`) / 429
    EXPIRED_TOKEN = "expired_token"  # noqa: S105  # Huawei: the token ends now; Tencent: AuthFailure.TokenFailure
    TRUNCATED_BODY = "truncated_body"  # apply, announce the full length, send half, close
    DUPLICATE_CREATE = "duplicate_create"  # a create of what exists answers by `mode`
    READ_LAG = "read_lag"  # reads don't see writes of the last `seconds`
    PAGE_CAP = "page_cap"  # listings give at most `size` items a page
    CLOCK_OFFSET = "clock_offset"  # the vendor's clock is `seconds` ahead of ours


BEFORE = frozenset(
    {
        FaultKind.REPLY_LOST_BEFORE,
        FaultKind.DBERROR_BEFORE,
        FaultKind.HTTP_BEFORE,
        FaultKind.ERROR_BEFORE,
        FaultKind.THROTTLE,
        FaultKind.EXPIRED_TOKEN,
    }
)
AFTER = frozenset(
    {
        FaultKind.REPLY_LOST_AFTER,
        FaultKind.DBERROR_AFTER,
        FaultKind.HTTP_AFTER,
        FaultKind.ERROR_AFTER,
        FaultKind.TRUNCATED_BODY,
    }
)
_NEEDS_SECONDS = {FaultKind.LATENCY, FaultKind.LATE_REPLY, FaultKind.READ_LAG, FaultKind.CLOCK_OFFSET}
_ALIASES = {"http_502_before": "http_before", "http_502_after": "http_after"}
_MODES = {"error", "success", "overwrite", "dberror"}


@dataclass(frozen=True, kw_only=True)
class FaultRule:
    """One switch: a kind, the requests it is for, how often it strikes and its particulars."""

    kind: FaultKind
    action: str = "*"
    """Operation name, a glob."""
    vendor: str = "*"
    match: str | None = None
    """Glob on the natural key, case-sensitive; None: every request."""
    probability: float = 1.0
    count: int | None = None
    """How often it strikes before it is used up; None: for ever."""
    skip: int = 0
    """So many matching requests pass first."""
    seconds: float | tuple[float, float] = 0.0
    code: str | None = None
    status: int = 502
    mode: str = "error"
    size: int = 1

    def as_dict(self) -> dict[str, Any]:
        """The rule as JSON; what is at its default is left out, except kind and action."""
        shown: dict[str, Any] = {"kind": self.kind.value, "action": self.action}
        for name, declared in self.__dataclass_fields__.items():
            value = getattr(self, name)
            if name not in shown and value != declared.default:
                shown[name] = list(value) if isinstance(value, tuple) else value
        return shown


def rules_from_json(document: Any) -> tuple[FaultRule, ...]:
    """Read rules from a decoded JSON list.

    Raises:
        ValueError: names the rule and what is wrong with it.
    """
    if not isinstance(document, list):
        raise ValueError("faults: must be a list of rules")  # noqa: TRY004  # bad input, not a bug of the caller
    return tuple(_rule(item, f"faults[{i}]") for i, item in enumerate(document))


def _rule(item: Any, where: str) -> FaultRule:
    if not isinstance(item, dict) or "kind" not in item:
        raise ValueError(f"{where}: must be an object with a kind")
    unknown = sorted(set(item) - set(FaultRule.__dataclass_fields__))
    if unknown:
        raise ValueError(f"{where}: unknown {', '.join(unknown)}")
    values = dict(item)
    try:
        values["kind"] = FaultKind(_ALIASES.get(str(item["kind"]), str(item["kind"])))
        if isinstance(values.get("seconds"), list):
            low, high = values["seconds"]
            values["seconds"] = (float(low), float(high))
        rule = FaultRule(**values)
        _check(rule)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error
    return rule


def _check(rule: FaultRule) -> None:
    if not 0.0 <= rule.probability <= 1.0:
        raise ValueError("probability must lie between 0 and 1")
    if rule.kind in {FaultKind.ERROR_BEFORE, FaultKind.ERROR_AFTER} and not rule.code:
        raise ValueError(f"{rule.kind} needs a code")
    if rule.kind in _NEEDS_SECONDS and rule.seconds == 0.0:
        raise ValueError(f"{rule.kind} needs seconds")
    if rule.kind is FaultKind.DUPLICATE_CREATE and rule.mode not in _MODES:
        raise ValueError(f"mode must be one of {', '.join(sorted(_MODES))}")
    if rule.kind is FaultKind.PAGE_CAP and rule.size < 1:
        raise ValueError("size must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What strikes one request."""

    latency: float = 0.0
    late_reply: float = 0.0
    outcome: FaultRule | None = None
    duplicate_mode: str | None = None
    read_lag: float = 0.0
    page_cap: int | None = None
    kinds: tuple[str, ...] = ()

    @property
    def before(self) -> FaultRule | None:
        """The fault that ends the request before anything is applied."""
        return self.outcome if self.outcome is not None and self.outcome.kind in BEFORE else None

    @property
    def after(self) -> FaultRule | None:
        """The fault that spoils the reply after everything is applied."""
        return self.outcome if self.outcome is not None and self.outcome.kind in AFTER else None

    @property
    def label(self) -> str | None:
        """For the journal: the kinds that struck, joined by ``+``."""
        return "+".join(self.kinds) or None


@dataclass
class _Switch:
    rule: FaultRule
    seen: int = 0
    hits: int = 0

    def strikes(self, randomness: Random) -> bool:
        self.seen += 1
        if self.seen <= self.rule.skip or (self.rule.count is not None and self.hits >= self.rule.count):
            return False
        if self.rule.probability < 1.0 and randomness.random() >= self.rule.probability:
            return False
        self.hits += 1
        return True


@dataclass
class _Tally:
    kinds: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)


class FaultBoard:
    """The switches of a running sandbox, rolled in order; of those that decide the reply the first to strike wins."""

    def __init__(self, rules: Iterable[FaultRule], *, seed: int) -> None:
        self._randomness = Random(seed)  # noqa: S311  # reproducible faults, not secrets
        self._switches = [_Switch(rule) for rule in rules]

    def replace(self, rules: Iterable[FaultRule], *, seed: int | None = None) -> None:
        """Put these rules in place of all others; a seed restarts the dice."""
        if seed is not None:
            self._randomness = Random(seed)  # noqa: S311  # reproducible faults, not secrets
        self._switches = [_Switch(rule) for rule in rules]

    def add(self, *rules: FaultRule) -> None:
        """Put rules behind those in force."""
        self._switches.extend(_Switch(rule) for rule in rules)

    def clear(self) -> None:
        """No more faults."""
        self._switches = []

    def as_list(self) -> list[dict[str, Any]]:
        """Every rule in force with how often it matched (``seen``) and struck (``hits``)."""
        return [{**s.rule.as_dict(), "seen": s.seen, "hits": s.hits} for s in self._switches]

    def clock_offset(self, vendor: str, action: str) -> float:
        """Seconds the vendor's clock is ahead for this request; drawn before the signature is judged."""
        return sum(
            self._seconds(switch.rule)
            for switch in self._switches
            if switch.rule.kind is FaultKind.CLOCK_OFFSET
            and _concerns(switch.rule, vendor, action, natural_key=None)
            and switch.strikes(self._randomness)
        )

    def draw(self, vendor: str, action: str, natural_key: str | None) -> Draw:
        """Roll every rule that concerns this request, once it has passed signature and quota."""
        tally = _Tally()
        for switch in self._switches:
            rule = switch.rule
            if rule.kind is FaultKind.CLOCK_OFFSET or not _concerns(rule, vendor, action, natural_key=natural_key):
                continue
            if rule.kind in BEFORE | AFTER and "outcome" in tally.values:
                continue
            if switch.strikes(self._randomness):
                self._note(rule, tally)
        return Draw(kinds=tuple(tally.kinds), **tally.values)

    def _note(self, rule: FaultRule, tally: _Tally) -> None:
        tally.kinds.append(rule.kind.value)
        values = tally.values
        match rule.kind:
            case FaultKind.LATENCY | FaultKind.LATE_REPLY:
                values[rule.kind.value] = values.get(rule.kind.value, 0.0) + self._seconds(rule)
            case FaultKind.READ_LAG:
                values["read_lag"] = max(values.get("read_lag", 0.0), self._seconds(rule))
            case FaultKind.PAGE_CAP:
                values["page_cap"] = min(values.get("page_cap", rule.size), rule.size)
            case FaultKind.DUPLICATE_CREATE:
                values["duplicate_mode"] = rule.mode
            case _:
                values["outcome"] = rule

    def _seconds(self, rule: FaultRule) -> float:
        if isinstance(rule.seconds, tuple):
            return self._randomness.uniform(*rule.seconds)
        return rule.seconds


def _concerns(rule: FaultRule, vendor: str, action: str, *, natural_key: str | None) -> bool:
    if not (fnmatchcase(vendor, rule.vendor) and fnmatchcase(action, rule.action)):
        return False
    return rule.match is None or (natural_key is not None and fnmatchcase(natural_key, rule.match))
