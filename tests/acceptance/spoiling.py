"""Proof that the oracle sees: evidence that passed, spoiled in one place, has to be found out for the right reason."""

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from service.sandbox.journal import Entry
from tests.acceptance.oracle import APPLY, Evidence, LedgerRows, judge
from tests.acceptance.storm import QUOTA

Spoil = Callable[[Evidence], Evidence]


def unseen(evidence: Evidence) -> list[str]:
    """The spoilings of sound evidence that the oracle does not blame on the promise they break."""
    return [spoil.__name__ for promise, spoil in SPOILINGS if promise not in judge(spoil(evidence)).findings]


def _an_event_that_was_never_taken_in(evidence: Evidence) -> Evidence:
    return _with_ledger(evidence, events=evidence.ledger.events[1:])


def _a_plan_that_never_ended(evidence: Evidence) -> Evidence:
    plans = evidence.ledger.plans
    free = (plan for plan in plans.values() if plan["subject"] not in evidence.stopped_subjects)
    ended = next(plan for plan in free if plan["state"] == "completed")
    return _with_ledger(evidence, plans={**plans, ended["id"]: {**ended, "state": "open"}})


def _an_extension_made_twice(evidence: Evidence) -> Evidence:
    made = next(entry for entry in evidence.journal if entry.effect == "created")
    return _with_journal(evidence, [*evidence.journal, replace(made, seq=made.seq + 10**6)])


def _an_attempt_with_two_effects(evidence: Evidence) -> Evidence:
    done = next(entry for entry in evidence.journal if entry.effect == "bound")
    return _with_journal(evidence, [*evidence.journal, replace(done, wall=done.wall + 0.001)])


def _an_effect_that_nobody_recorded(evidence: Evidence) -> Evidence:
    commands = evidence.ledger.commands
    changed = {commands[row["command_id"]]["resource"] for _, row in evidence.effects[:1] if row is not None}
    kept = [row for row in evidence.ledger.attempts if commands[row["command_id"]]["resource"] not in changed]
    return _with_ledger(evidence, attempts=kept)


def _a_success_without_an_effect(evidence: Evidence) -> Evidence:
    by_command: dict[str, list[int]] = defaultdict(list)
    for entry, attempt in evidence.effects:
        if attempt is not None:
            by_command[attempt["command_id"]].append(entry.seq)
    seqs = next(seqs for name, seqs in by_command.items() if evidence.ledger.commands[name]["result"] == "done")
    return _with_journal(evidence, [replace(e, effect_applied=False) if e.seq in seqs else e for e in evidence.journal])


def _an_earlier_event_after_a_later(evidence: Evidence) -> Evidence:
    by_key: dict[str, list[tuple[Entry, str]]] = defaultdict(list)
    for entry, attempt in evidence.effects:
        if attempt is not None:
            plan = evidence.ledger.commands[attempt["command_id"]]["plan_id"]
            by_key[str(entry.natural_key)].append((entry, plan))
    first, last = next((e[0][0], e[-1][0]) for e in by_key.values() if e[0][1] != e[-1][1])
    swapped = {first.seq: last, last.seq: first}
    return _with_journal(evidence, [swapped.get(entry.seq, entry) for entry in evidence.journal])


def _an_older_state_left_standing(evidence: Evidence) -> Evidence:
    state = copy.deepcopy(dict(evidence.state))
    extensions = state["tencent_ccc"]["1400000000"]["extensions"]
    next(iter(extensions.values()))["name"] = "somebody else"
    return replace(evidence, state=state)


def _a_doubt_that_is_none(evidence: Evidence) -> Evidence:
    commands = evidence.ledger.commands
    done = next(row for row in commands.values() if row["operation"] == APPLY and row["state"] == "succeeded")
    return _with_ledger(evidence, commands={**commands, done["id"]: {**done, "state": "in_doubt"}})


def _an_end_that_was_not_told(evidence: Evidence) -> Evidence:
    end = next(told for told in evidence.told if told["type"] == "provisioning.plan.completed.v1")
    return replace(evidence, told=[told for told in evidence.told if told["id"] != end["id"]])


def _an_end_told_in_two_ways(evidence: Evidence) -> Evidence:
    end = next(told for told in evidence.told if told["type"] == "provisioning.plan.completed.v1")
    other = {**end, "id": "msg_other", "type": "provisioning.plan.failed.v1"}
    return replace(evidence, told=[*evidence.told, other])


def _a_burst(evidence: Evidence) -> Evidence:
    read = next(entry for entry in evidence.journal if entry.action == "DescribeExtensions")
    return _with_journal(evidence, [*evidence.journal, *[replace(read, seq=10**7 + n) for n in range(QUOTA)]])


SPOILINGS: Sequence[tuple[str, Spoil]] = (
    ("lost", _an_event_that_was_never_taken_in),
    ("lost", _a_plan_that_never_ended),
    ("twice", _an_extension_made_twice),
    ("twice", _an_attempt_with_two_effects),
    ("ghost", _an_effect_that_nobody_recorded),
    ("ghost", _a_success_without_an_effect),
    ("order", _an_earlier_event_after_a_later),
    ("last state", _an_older_state_left_standing),
    ("in doubt", _a_doubt_that_is_none),
    ("told", _an_end_that_was_not_told),
    ("told", _an_end_told_in_two_ways),
    ("over quota", _a_burst),
)


def _with_journal(evidence: Evidence, journal: Sequence[Entry]) -> Evidence:
    return replace(evidence, journal=journal)


def _with_ledger(
    evidence: Evidence,
    *,
    events: Sequence[Mapping[str, Any]] | None = None,
    plans: Mapping[str, Mapping[str, Any]] | None = None,
    commands: Mapping[str, Mapping[str, Any]] | None = None,
    attempts: Sequence[Mapping[str, Any]] | None = None,
) -> Evidence:
    ledger: LedgerRows = copy.copy(evidence.ledger)
    ledger.events = list(events if events is not None else ledger.events)
    ledger.plans = dict(plans if plans is not None else ledger.plans)
    ledger.commands = dict(commands if commands is not None else ledger.commands)
    ledger.attempts = list(attempts if attempts is not None else ledger.attempts)
    return replace(evidence, ledger=ledger)
