"""The published schemas and the reader say yes and no to the same data, whatever it is."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from contracts.generate import ROOT
from contracts.inbound import INBOUND
from service.domain.record_reading import Record, Understood, read_record

VALIDATORS = {
    name: Draft202012Validator(
        json.loads((ROOT / f"schemas/{name}.json").read_text()), format_checker=FormatChecker(formats=())
    )
    for name in INBOUND
}
# Python's `$` also matches before a last line feed, unlike the dialect's own: such texts say nothing about the schema
_TEXTS = st.text(max_size=14).filter(lambda text: not text.endswith("\n")) | st.sampled_from(
    ["a@b", "https://x", "inbound", "2026-01-01", "2026-01-01T00:00:00Z", "1001", " x", "\x85", "\u2028", "\u200b"]
)
_EDGES = st.sampled_from([0, 1, 10**6, 10**6 + 1, 2**53 - 1, 2**53, -(2**53), 2**63 - 1, 2**63, -(2**63), 1.0, 0.5])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | _EDGES | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_TEXTS, inner, max_size=3)
        | st.dictionaries(st.sampled_from(["ivr", "skill_queue"]), inner, max_size=3)
    ),
    max_leaves=6,
)
_FIELDS = st.sampled_from(sorted({name for model in INBOUND.values() for name in model.model_fields}))


@settings(max_examples=400, deadline=None)
@given(
    kind=st.sampled_from(sorted(INBOUND)),
    base=st.sampled_from([{}, {"agent_id": "a", "name": "n", "number": "1"}]),
    data=st.dictionaries(_FIELDS, _VALUES, max_size=3),
)
def test_schema_and_reader_agree_about_any_data(kind: str, base: dict[str, Any], data: dict[str, Any]) -> None:
    event = {"specversion": "1.0", "id": "1", "source": "/hr", "type": kind, "data": base | data}
    value = json.dumps(event).encode()
    record = Record(topic="t", partition=0, offset=0, key=None, value=value, headers=(), timestamp_ms=0)
    understood = isinstance(read_record(record, max_event_bytes=1 << 20), Understood)
    assert understood == VALIDATORS[kind].is_valid(event)
