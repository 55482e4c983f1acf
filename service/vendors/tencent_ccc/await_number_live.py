"""DescribeNumbers as a command: wait until an own number has been reviewed and is live."""

from __future__ import annotations

from collections.abc import Mapping

from service.application.ports import PresentRead
from service.domain.outcome import Call, Json, Move, NotYet, Outcome, Result, Seen, Succeeded, WhenUnclear
from service.domain.wanted import NumberLiveWanted
from service.vendors.tencent_ccc.numbers_read import NAME, is_live, stopped


class AwaitNumberLive:
    """Fulfils `VendorOperation`. Reading the present is all it does: it never makes a call of its own."""

    name = NAME
    writes = False
    when_unclear = WhenUnclear.READ_BACK

    def __init__(self, present_read: PresentRead) -> None:
        """`present_read` is the account's reader of numbers."""
        self.present_read: PresentRead | None = present_read

    def decide(self, wanted: Mapping[str, Json], seen: Seen | None, *, ours: bool) -> Move:  # noqa: ARG002 - the instance's numbers are all ours
        """Live: done. There but stopped: see `stopped`. Absent: pending or refused, which no API tells apart."""
        want = NumberLiveWanted.model_validate(wanted)
        if seen is None:
            raise ValueError(f"{NAME} is decided on a read of the present only")
        if seen.state is None:
            return NotYet()
        if is_live(seen.state):
            return Succeeded(result=Result.DONE, facts={"number": want.number})
        return stopped(seen.state)

    async def judge(self, wanted: Mapping[str, Json], answer: Mapping[str, Json], call: Call) -> Outcome:  # noqa: ARG002 - never reached
        """Never asked, for `decide` makes no call; an answer by itself would prove nothing."""
        return NotYet()
