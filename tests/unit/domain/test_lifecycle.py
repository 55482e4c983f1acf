import pytest

from service.domain.command import ENDS, CommandState, WaitCause
from service.domain.lifecycle import ALLOWED, ForbiddenTransitionError, born, move
from tests.builders import NOW, make_command

STATES = list(CommandState)
PAIRS = [(before, after) for before in STATES for after in STATES]


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_only_arrows_that_exist_are_followed(before: CommandState, after: CommandState) -> None:
    command = make_command(state=before)
    if after in ALLOWED[before]:
        moved, row = move(command, after, at=NOW, why="because")
        assert (moved.state, row.before, row.after, row.cause, row.at) == (after, before, after, "because", NOW)
    else:
        with pytest.raises(ForbiddenTransitionError, match=command.id):
            move(command, after, at=NOW, why="because")


@pytest.mark.parametrize("end", sorted(ENDS))
def test_ends_are_final_until_there_is_replay(end: CommandState) -> None:
    assert not ALLOWED[end]


def test_what_was_sent_is_never_cancelled_unseen() -> None:
    assert CommandState.CANCELLED not in ALLOWED[CommandState.IN_FLIGHT]
    assert not any(CommandState.IN_DOUBT in ALLOWED[s] for s in STATES if s is not CommandState.IN_FLIGHT)


@pytest.mark.parametrize("after", [s for s in STATES if s is not CommandState.IN_FLIGHT])
def test_command_keeps_its_owner_only_while_in_flight(after: CommandState) -> None:
    sending, _ = move(make_command(state=CommandState.PENDING, owner=3), CommandState.IN_FLIGHT, at=NOW, why="w")
    assert sending.owner == 3
    if after in ALLOWED[CommandState.IN_FLIGHT]:
        assert move(sending, after, at=NOW, why="w")[0].owner is None


@pytest.mark.parametrize("after", sorted(ALLOWED[CommandState.WAITING]))
def test_end_is_dated_and_nothing_else_is(after: CommandState) -> None:
    moved, _ = move(make_command(state=CommandState.WAITING), after, at=NOW, why="w")
    assert moved.ended_at == (NOW if after in ENDS else None)
    assert after.ended is (after in ENDS)


def test_cause_and_due_time_belong_to_the_new_state_only() -> None:
    waiting, _ = move(
        make_command(), CommandState.WAITING, at=NOW, why="w", cause=WaitCause.RETRY, due_at=NOW + 1, actor="ann"
    )
    assert (waiting.cause, waiting.due_at) == (WaitCause.RETRY, NOW + 1)
    pending, row = move(waiting, CommandState.PENDING, at=NOW, why="w", actor="ann")
    assert (pending.cause, pending.due_at, row.actor) == (None, None, "ann")


def test_history_begins_with_a_row_from_nothing() -> None:
    row = born(make_command(), "planned")
    assert (row.before, row.after, row.cause, row.at) == (None, CommandState.PENDING, "planned", NOW)
