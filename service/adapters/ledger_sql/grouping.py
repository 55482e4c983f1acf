"""The decisions of several jobs in one transaction: loaded together, each shown its own part, written together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from service.domain.binding import Binding
from service.domain.command import Command, Plan, PlanState
from service.domain.desk import NO_DESK_KEYS, DeskChanges, DeskKeys, DeskKnown, all_keys
from service.domain.ledger_state import Changes, EventKey, Fact, Hold, Keys, Known, StoredEvent
from service.domain.value import replace

_FIELDS = Changes.__struct_fields__


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedDesk:
    """What the ledger holds for the keys of acts; `holds` are those named."""

    known: DeskKnown
    holds: Sequence[Hold]
    contents: Mapping[EventKey, StoredEvent]


NO_DESK = LoadedDesk(known=DeskKnown(), holds=(), contents={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What the ledger holds for the keys of several jobs, in the order in which it is to be shown."""

    digests: Mapping[EventKey, str]
    bindings: Sequence[Binding]
    plans: Sequence[Plan]
    commands: Sequence[Command]
    facts: Sequence[Fact]
    holds: Sequence[Hold]
    next_arrival: int
    desk: LoadedDesk = NO_DESK


class Parts:
    """What was loaded, by what jobs ask for: a transaction has dozens of jobs, and none looks through all of it."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._plans = {plan.id: plan for plan in loaded.plans}
        self._steps: defaultdict[str, list[Command]] = defaultdict(list)
        self._about: defaultdict[str, set[str]] = defaultdict(set)  # subject or resource → plans
        self._on: defaultdict[str, set[str]] = defaultdict(set)
        self._bindings_of: defaultdict[str, list[Binding]] = defaultdict(list)
        self._held_on: defaultdict[str, list[Binding]] = defaultdict(list)
        for plan in loaded.plans:
            self._about[plan.subject].add(plan.id)
        for command in loaded.commands:
            self._steps[command.plan_id].append(command)
            self._about[command.subject].add(command.plan_id)
            self._on[command.resource].add(command.plan_id)
        for binding in loaded.bindings:
            self._bindings_of[binding.subject].append(binding)
            if binding.held:
                self._held_on[binding.resource].append(binding)

    @property
    def next_arrival(self) -> int:
        """The number that the next event gets."""
        return self._loaded.next_arrival

    def known(self, keys: Keys) -> Known:
        """One job's part."""
        plans = {plan_id: self._plans[plan_id] for plan_id in sorted(self._wanted(keys))}
        bindings = {
            (binding.subject, binding.generation): binding
            for found, names in ((self._bindings_of, keys.subjects), (self._held_on, keys.resources))
            for name in names
            for binding in found.get(name, ())
        }
        loaded = self._loaded
        known = Known(
            digests={key: loaded.digests[key] for key in keys.events if key in loaded.digests},
            bindings=tuple(bindings[place] for place in sorted(bindings)),
            plans=plans,
            commands=tuple(command for plan_id in plans for command in self._steps.get(plan_id, ())),
            facts=tuple(fact for fact in loaded.facts if fact.subject in keys.subjects),
            holds=tuple(hold for hold in loaded.holds if hold.account in keys.accounts),
            next_arrival=loaded.next_arrival,
        )
        return known if keys.desk is NO_DESK_KEYS else self._with_desk(known, keys.desk)

    def _with_desk(self, known: Known, keys: DeskKeys) -> Known:
        desk = self._loaded.desk
        holds = {hold.id: hold for hold in (*known.holds, *(hold for hold in desk.holds if hold.id in keys.holds))}
        return replace(
            known,
            holds=tuple(holds[name] for name in sorted(holds)),
            contents={key: desk.contents[key] for key in keys.contents if key in desk.contents},
            desk=desk.known.part(keys),
        )

    def _wanted(self, keys: Keys) -> set[str]:
        """The plans named, and every open one around the subjects and resources."""
        around = {
            plan_id
            for found, names in ((self._about, keys.subjects), (self._on, keys.resources))
            for name in names
            for plan_id in found.get(name, ())
        }
        open_ones = {one for one in around if one in self._plans and self._plans[one].state is PlanState.OPEN}
        return open_ones | (keys.plans & self._plans.keys())


def names_of(keys: Keys) -> set[str]:
    """What a job is about before it has looked: nobody else may change these meanwhile."""
    names = {*keys.subjects, *keys.resources, *({"arrivals"} if keys.events else ())}
    return names if keys.desk is NO_DESK_KEYS else names | keys.desk.names()


def accounts_of(keys: Keys) -> set[str]:
    """The names of a job's accounts: taken only where it changes what stops them."""
    return {f"account:{name}" for name in keys.accounts}


def names_in(known: Known) -> set[str]:
    """The subjects and resources of all that a job has been shown, and may therefore change."""
    of_commands = {name for command in known.commands for name in (command.subject, command.resource)}
    return {*of_commands, *(plan.subject for plan in known.plans.values())}


def union(many: Iterable[Keys]) -> Keys:
    """The keys of all jobs together; sessions are each job's own."""
    each = list(many)
    return Keys(
        accounts=frozenset().union(*(keys.accounts for keys in each)),
        events=frozenset().union(*(keys.events for keys in each)),
        subjects=frozenset().union(*(keys.subjects for keys in each)),
        resources=frozenset().union(*(keys.resources for keys in each)),
        plans=frozenset().union(*(keys.plans for keys in each)),
        desk=all_keys(keys.desk for keys in each),
    )


def together(many: Sequence[Changes]) -> Changes:
    """The changes of several jobs, of which no two change the same row, as one."""
    if len(many) == 1:
        return many[0]
    return Changes(**{name: tuple(row for one in many for row in getattr(one, name)) for name in _FIELDS})


def desk_changes(many: Sequence[DeskChanges]) -> DeskChanges:
    """What several acts write, as one; of rows with one key the last."""
    return DeskChanges(
        answers=tuple({row.key: row for one in many for row in one.answers}.values()),
        replays=tuple({row.id: row for one in many for row in one.replays}.values()),
        items=tuple({(row.replay_id, row.number): row for one in many for row in one.items}.values()),
        letters=tuple({(row.place, row.digest): row for one in many for row in one.letters}.values()),
        rates=tuple({(row.quota_group, row.operation): row for one in many for row in one.rates}.values()),
    )
