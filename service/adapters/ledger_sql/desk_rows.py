"""Rows of what operators do: replays with their items, answers given before, quotas changed, and what was counted."""

from __future__ import annotations

import orjson

from service.adapters.ledger_sql.rows import Cells, Row, plan, to_json
from service.application.inquiry import ItemStanding, Tally
from service.domain.dead_letter import DeadLetter
from service.domain.desk import GivenAnswer, QuotaRate
from service.domain.replay import ItemState, Replay, ReplayItem, ReplayState
from service.domain.value import Value

REPLAY = (
    "id, state, actor, reason, selection, rate, size, created_at, changed_at, paced_from, paced_begun, ended_at, counts"
)
ITEM = "replay_id, number, plan_id, from_epoch, state, epoch, why, at"
ANSWER = "idempotency_key, digest, status, document, given_at"
RATE = "quota_group, operation, rate, changed_at, actor, reason"
TALLY = "kind, account, operation, lane, state, cause, error_class, code, number, first_at, last_at"


def replay_row(replay: Replay) -> Row:
    """The columns of REPLAY."""
    r = replay
    return (
        r.id, r.state, r.actor, r.reason, to_json(r.selection), r.rate, r.size, r.created_at, r.changed_at,
        r.paced_from, r.paced_begun, r.ended_at, to_json(r.counts),
    )  # fmt: skip


def replay(row: Cells) -> Replay:
    """Back from the columns of REPLAY."""
    return Replay(
        id=row[0],
        state=ReplayState(row[1]),
        actor=row[2],
        reason=row[3],
        selection=orjson.loads(row[4]),
        rate=row[5],
        size=row[6],
        created_at=row[7],
        changed_at=row[8],
        paced_from=row[9],
        paced_begun=row[10],
        ended_at=row[11],
        counts=orjson.loads(row[12]),
    )


def item_row(item: ReplayItem) -> Row:
    """The columns of ITEM."""
    i = item
    return (i.replay_id, i.number, i.plan_id, i.from_epoch, i.state, i.epoch, i.why, i.at)


def item(row: Cells) -> ReplayItem:
    """Back from the columns of ITEM."""
    return ReplayItem(
        replay_id=row[0],
        number=row[1],
        plan_id=row[2],
        from_epoch=row[3],
        state=ItemState(row[4]),
        epoch=row[5],
        why=row[6],
        at=row[7],
    )


def standing(row: Row) -> ItemStanding:
    """Back from the columns of ITEM followed by those of its plan, all absent if that is erased."""
    of_plan = row[8:]
    return ItemStanding(item=item(row), plan=None if of_plan[0] is None else plan(of_plan))


class Begun(Value, frozen=True, kw_only=True):
    """Of some items of a replay: how many they are, the last one's number, how many are no longer pending."""

    number: int
    last: int
    begun: int


def begun(row: Cells) -> Begun:
    """Back from what `questions.BEGUN` tells."""
    return Begun(number=row[0], last=row[1] or 0, begun=row[2])


def answer_row(answer: GivenAnswer) -> Row:
    """The columns of ANSWER."""
    return (answer.key, answer.digest, answer.status, to_json(answer.document), answer.given_at)


def answer(row: Cells) -> GivenAnswer:
    """Back from the columns of ANSWER."""
    return GivenAnswer(key=row[0], digest=row[1], status=row[2], document=orjson.loads(row[3]), given_at=row[4])


def closed_row(letter: DeadLetter) -> Row:
    """What closes a letter: its state and when, then its place and digest."""
    return (letter.state, letter.closed_at, *letter.place, letter.digest)


def rate_row(rate: QuotaRate) -> Row:
    """The columns of RATE."""
    return (rate.quota_group, rate.operation, rate.rate, rate.changed_at, rate.actor, rate.reason)


def rate(row: Cells) -> QuotaRate:
    """Back from the columns of RATE."""
    return QuotaRate(quota_group=row[0], operation=row[1], rate=row[2], changed_at=row[3], actor=row[4], reason=row[5])


def tally(row: Cells) -> Tally:
    """Back from the columns of TALLY."""
    return Tally(
        kind=row[0],
        account=row[1],
        operation=row[2],
        lane=row[3],
        state=row[4],
        cause=row[5],
        error_class=row[6],
        code=row[7],
        number=row[8],
        first_at=row[9],
        last_at=row[10],
    )
