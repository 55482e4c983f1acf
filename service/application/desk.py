"""The desk: what a person does to work beside replaying it: holds, words on doubts, quotas, dead letters, forgetting.

Called by the HTTP API; every act is one transaction, written down with who and why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from service.application.asking import (
    Answer,
    Asked,
    Declined,
    Done,
    Place,
    Trouble,
    act,
    answered,
    do,
    tell,
    write_down,
)
from service.application.inquiry import EventQuery, look_up
from service.application.inspection import DeskLedger
from service.application.ports import Clock
from service.application.telemetry import Telemetry
from service.domain.account import Account
from service.domain.announcements import dead_letter_id
from service.domain.command import CommandState
from service.domain.dead_letter import DeadLetter, LetterPlace, LetterState, place_of
from service.domain.desk import DeskChanges, DeskKeys, QuotaRate
from service.domain.draft import Draft
from service.domain.holding import Scope, hold_back, let_go
from service.domain.ledger_state import Act, Keys, Known
from service.domain.outcome import Json
from service.domain.record_reading import Defect, Ignored, Record, Understood, read_record
from service.domain.settling_by_hand import Word, settle_by_hand
from service.domain.taking_in import IntakePolicy, ReadRecord, keys_of, take_in_draft
from service.domain.value import replace

STRUCTURED: Final = (("content-type", b"application/cloudevents+json"),)
NO_HOLD: Final = Declined(Trouble.NOT_FOUND, "no hold has this id")
NO_COMMAND: Final = Declined(Trouble.NOT_FOUND, "no command has this id")
NO_LETTER: Final = Declined(Trouble.NOT_FOUND, "no dead letter has this id")
UNFINISHED_WORK: Final = Declined(
    Trouble.CONFLICT, "the subject has unfinished work that needs its data: let it end, then ask again"
)


class Desk:
    """An operator's acts."""

    def __init__(
        self,
        *,
        ledger: DeskLedger,
        accounts: Mapping[str, Account],
        policy: IntakePolicy,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        """`policy` is intake's: what is sent again goes the same way as what came from Kafka."""
        self._ledger = ledger
        self._accounts = accounts
        self._policy = policy
        self._clock = clock
        self._place = Place(ledger, clock, telemetry)

    async def hold(self, asked: Asked, scope: Scope) -> Answer:
        """Stop what matches the scope; `about` names the hold."""
        if not str(scope):
            return Declined(Trouble.INVALID, "a hold names an account, operation, subject or resource")

        def decide(draft: Draft, _: Known) -> Answer:
            hold = hold_back(draft, scope, actor=asked.actor, reason=asked.reason)
            return Done(about={"id": hold.id})

        return await do("hold", asked, Keys(), decide, at=self._place)

    async def release(self, asked: Asked, hold_id: str) -> Answer:
        """Let go what a hold, or a quarantine, stops."""
        standing = await self._ledger.holds(standing=True)
        accounts = frozenset(h.account for h in standing if h.id == hold_id and h.account is not None)
        keys = Keys(accounts=accounts, desk=DeskKeys(holds=frozenset({hold_id})))

        def decide(draft: Draft, _: Known) -> Answer:
            hold = draft.hold(hold_id)
            if hold is None:
                return NO_HOLD
            if hold.released_at is not None:
                return Declined(Trouble.CONFLICT, "it was released before")
            account = self._accounts.get(hold.account or "")
            vendor = None if account is None else account.vendor
            let_go(draft, hold, actor=asked.actor, reason=asked.reason, vendor=vendor)
            return Done(about={"id": hold_id})

        return await do("release", asked, keys, decide, at=self._place)

    async def settle(self, asked: Asked, command_id: str, word: Word) -> Answer:
        """Settle a command in doubt by a person's word."""
        story = await self._ledger.story(command_id)
        if story is None:
            return NO_COMMAND
        keys = Keys(
            plans=frozenset({story.plan.id}),
            subjects=frozenset({story.command.subject}),
            resources=frozenset({story.command.resource}),
        )

        def decide(draft: Draft, _: Known) -> Answer:
            command = draft.command(command_id)
            if command is None:
                return NO_COMMAND
            if command.state is not CommandState.IN_DOUBT:
                return Declined(Trouble.CONFLICT, f"it is not in doubt: it is {command.state.value}")
            settle_by_hand(draft, command, word, self._policy.settling, actor=asked.actor, reason=asked.reason)
            return Done(about={"id": command_id})

        return await do("settle", asked, keys, decide, at=self._place)

    async def change_quota(self, asked: Asked, account: str, operation: str, rate: float | None) -> Answer:
        """Let an operation of an account's quota group go at another rate (requests/s; None: as configured)."""
        known = self._accounts.get(account)
        if known is None:
            return Declined(Trouble.NOT_FOUND, "no such account is configured")
        changed = QuotaRate(
            quota_group=known.group(),
            operation=operation,
            rate=rate,
            changed_at=self._clock.now(),
            actor=asked.actor,
            reason=asked.reason,
        )

        def decide(draft: Draft, _: Known) -> Answer:
            draft.put_desk(DeskChanges(rates=(changed,)))
            name = f"{changed.quota_group}/{operation}"
            detail: dict[str, Json] = {"account": account, "rate": rate}
            write_down(draft, "quota", name, asked, detail)
            return Done(about={"quota_group": changed.quota_group, "operation": operation, "rate": rate})

        return await do("quota", asked, Keys(), decide, at=self._place)

    async def discard(self, asked: Asked, letter_id: str) -> Answer:
        """Set a dead letter aside: nobody will mend it."""
        return await self._close(asked, letter_id, LetterState.DISCARDED)

    async def resubmit(self, asked: Asked, letter_id: str, event: bytes) -> Answer:
        """Take in what the record should have been, a whole CloudEvent in JSON; the edit is written down by digests.

        It keeps its place in Kafka, and is read by the same rules: still wrong, it is declined with the reason.
        """
        place = place_of(letter_id)
        if place is None:
            return NO_LETTER
        letter = await self.letter(place)
        if letter is None:
            return NO_LETTER
        kept = await self._ledger.letter_bytes(dead_letter_id(*place))
        record = _corrected(letter, event, None if kept is None else kept[0], self._clock.now())
        read = read_record(record, max_event_bytes=self._policy.max_event_bytes)
        match read:
            case Ignored():
                return Declined(Trouble.INVALID, "it is still no event of ours: its type is foreign, or it is empty")
            case Defect():
                at = "" if read.field is None else f" at `{read.field}`"
                return Declined(Trouble.INVALID, f"it still can't be read{at}: {read.message}")
            case Understood():
                return await self._take_in(asked, letter, ReadRecord(record, read))

    async def _take_in(self, asked: Asked, letter: DeadLetter, item: ReadRecord) -> Answer:
        keys = keys_of([item], self._policy)

        def decide(draft: Draft, known: Known) -> Answer:
            closed = self._closed(draft, known, asked, letter.id, LetterState.RESUBMITTED, edited=item.record)
            if isinstance(closed, Declined):
                return closed
            take_in_draft(draft, [item], self._policy)
            made = draft.changes()
            if made.dead_letters:
                return Declined(Trouble.CONFLICT, f"it is refused: {made.dead_letters[0].message}")
            plan = next((plan.id for plan in made.plans), None)
            return Done(about={"id": letter.id, "plan_id": plan})

        wanted = replace(keys, desk=DeskKeys(letters=frozenset({letter.place})))
        return await do(LetterState.RESUBMITTED.value, asked, wanted, decide, at=self._place)

    async def _close(self, asked: Asked, letter_id: str, state: LetterState) -> Answer:
        place = place_of(letter_id)
        if place is None:
            return NO_LETTER
        keys = Keys(desk=DeskKeys(letters=frozenset({place})))

        def decide(draft: Draft, known: Known) -> Answer:
            return self._closed(draft, known, asked, letter_id, state)

        return await do(state.value, asked, keys, decide, at=self._place)

    def _closed(
        self,
        draft: Draft,
        known: Known,
        asked: Asked,
        letter_id: str,
        state: LetterState,
        *,
        edited: Record | None = None,
    ) -> Answer:
        letter = known.desk.letters.get(place_of(letter_id) or ("", 0, 0))
        if letter is None:
            return NO_LETTER
        if letter.state is not LetterState.OPEN:
            return Declined(Trouble.CONFLICT, f"it was {letter.state.value} before")
        draft.put_desk(DeskChanges(letters=(replace(letter, state=state, closed_at=draft.now),)))
        detail: dict[str, Json] = {"reason": letter.reason, "field": letter.field, "sha256": letter.digest}
        if edited is not None:
            detail["sent_sha256"] = hashlib.sha256(edited.value or b"").hexdigest()
        write_down(draft, state.value, letter_id, asked, detail)
        return Done(about={"id": letter_id})

    async def forget(self, asked: Asked, subject: str) -> Answer:
        """Erase what is known of the person behind a subject, but for surrogate ids.

        It is answered under its key in a transaction of its own: whoever asks again after a crash in between is told of
        rows that have nothing left to erase.
        """
        given = await answered(self._ledger, asked, self._clock.now())
        if given is not None:
            return given
        if not await self._knows(subject):
            return Declined(Trouble.NOT_FOUND, "nothing is known of this subject")
        kept = Act(at=self._clock.now(), actor=asked.actor, kind="forget", object=subject, reason=asked.reason)
        erased = await self._ledger.forget(subject, kept)
        if erased is None:
            return UNFINISHED_WORK
        tell("forget", asked, self._place.telemetry)
        done = Done(about={"subject": subject, "erased": dict(erased)})
        return await act(self._ledger, asked, Keys(), self._clock.now(), lambda *_: done)

    async def _knows(self, subject: str) -> bool:
        known = await look_up(self._ledger, Keys(subjects=frozenset({subject})))
        bound = bool(known.bindings or known.plans)
        return bound or bool(await self._ledger.events(EventQuery(subject=subject, limit=1)))

    async def reveal(self, asked: Asked, about: str) -> None:
        """Write down that somebody looked at a person's name or address."""

        def decide(draft: Draft, _: Known) -> Answer:
            write_down(draft, "reveal", about, asked, {})
            return Done(about=about)

        await do("reveal", replace(asked, key=None), Keys(), decide, at=self._place)

    async def letter(self, place: LetterPlace) -> DeadLetter | None:
        """The note of the dead letter that stood there."""
        known = await look_up(self._ledger, Keys(desk=DeskKeys(letters=frozenset({place}))))
        return next(iter(known.desk.letters.values()), None)


def _corrected(letter: DeadLetter, event: bytes, key: bytes | None, now: float) -> Record:
    return Record(
        topic=letter.topic,
        partition=letter.partition,
        offset=letter.offset,
        key=key,
        value=event,
        headers=STRUCTURED,
        timestamp_ms=round(now * 1000),
    )
