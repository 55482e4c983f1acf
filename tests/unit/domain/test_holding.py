"""Holds: what they stop, and what is written down of who stopped it and let it go."""

from service.domain.desk import DeskKeys
from service.domain.draft import Draft
from service.domain.holding import Scope, hold_back, let_go
from service.domain.ledger_state import HoldKind, Keys, Known
from tests.builders import HIRED, NOW, make_command, make_inbound
from tests.unit.domain.world import DOWN, World


def held(world: World, scope: Scope) -> str:
    draft = Draft(world.load(Keys()), world.now)
    hold = hold_back(draft, scope, actor="ann", reason="the vendor asked us to")
    world.write(draft.changes())
    return hold.id


def test_hold_stops_what_matches_all_that_it_names() -> None:
    world = World()
    hold = world.holds[held(world, Scope(account="acme_cn", operation="tencent_ccc.CreateExtension"))]
    assert hold.stops(make_command(account="acme_cn", operation="tencent_ccc.CreateExtension"))
    assert not hold.stops(make_command(account="acme_cn", operation="tencent_ccc.DescribeExtension"))
    assert not hold.stops(make_command(account="acme_sg", operation="tencent_ccc.CreateExtension"))


def test_hold_and_release_are_written_down_with_who_and_why() -> None:
    world = World()
    hold_id = held(world, Scope(resource="extension:acme_cn/1001"))
    draft = Draft(world.load(Keys(desk=DeskKeys(holds=frozenset({hold_id})))), world.now + 5)
    hold = draft.hold(hold_id)
    assert hold is not None
    let_go(draft, hold, actor="bob", reason="it is over", vendor=None)
    world.write(draft.changes())
    assert world.holds[hold_id].released_at == NOW + 5
    assert [(act.kind, act.actor, act.object, act.reason) for act in world.acts] == [
        ("hold", "ann", "resource:extension:acme_cn/1001", "the vendor asked us to"),
        ("release", "bob", "resource:extension:acme_cn/1001", "it is over"),
    ]


def test_a_hold_is_no_quarantine_that_an_answer_could_end() -> None:
    world = World()
    held(world, Scope(account="acme_cn"))
    known = Known(holds=tuple(world.holds.values()))
    assert Draft(known, NOW).quarantines() == []


def test_quarantine_that_a_person_ends_is_told_as_recovered() -> None:
    world = World()
    world.take(make_inbound(HIRED, "hire-1"))
    world.run("hire-1", "extension", DOWN, run=20)
    (sick,) = world.holds.values()
    assert sick.kind is HoldKind.QUARANTINE
    draft = Draft(world.load(Keys(accounts=frozenset({"acme_cn"}))), world.now)
    let_go(draft, sick, actor="ann", reason="the vendor is back", vendor="tencent_ccc")
    world.write(draft.changes())
    (told,) = world.told("account.recovered")
    assert (told["data"]["account"], told["data"]["vendor"]) == ("acme_cn", "tencent_ccc")
