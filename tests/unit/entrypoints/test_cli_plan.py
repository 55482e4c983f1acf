"""Events given to `cordboard plan` are told apart, or refused in a sentence."""

from __future__ import annotations

import pytest

from service.entrypoints.cli_plan import NotEventsError, Previewer, events_in
from tests.builders import make_planning_policy


@pytest.mark.parametrize("content", [b'[{"a":1},{"b":2}]', b'{"a":1}\n\n{"b":2}\n'])
def test_events_come_as_an_array_or_as_lines(content: bytes) -> None:
    assert events_in(content) == [b'{"a":1}', b'{"b":2}']


@pytest.mark.parametrize("content", [b"", b"nothing", b"[" + b"[" * 400 + b"]" * 400 + b"]"])
def test_what_holds_no_events_is_refused(content: bytes) -> None:
    with pytest.raises(NotEventsError):
        events_in(content)


def test_a_type_nested_without_end_is_a_dead_letter() -> None:
    value = b'{"specversion":"1.0","type":' + b"[" * 1_000 + b"]" * 1_000 + b"}"
    preview = Previewer(make_planning_policy(), max_event_bytes=10_000).preview(1, value)
    assert (preview["outcome"], preview["reason"]) == ("dead letter", "not_json")
