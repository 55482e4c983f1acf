"""Every parser that reads foreign bytes, fed with bytes that nobody meant for it.

`make test` takes a sample. `make test-long` takes ten minutes, and prints what became of each parser's examples; by
itself: `FUZZ_SECONDS=60 .venv/bin/python -m pytest tests/fuzz -m long -s`.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final

import pytest

from service.vendors.registry import VENDORS
from tests.fuzz import configuration, events, http, vendors
from tests.fuzz.trial import Parser, Tally, a_seed, try_all, try_many

PARSERS: Final[tuple[Parser[Any], ...]] = (*events.PARSERS, *vendors.PARSERS, *configuration.PARSERS, *http.PARSERS)
SAMPLE: Final = 150
SECONDS: Final = 600.0


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_a_parser_gives_a_value_or_its_own_error_soon_and_repeats_no_secret(parser: Parser[Any]) -> None:
    seed = a_seed()
    print(f"FUZZ_SEED={seed}")  # noqa: T201 - shown when it fails
    try_many(parser, examples=SAMPLE, seed=seed, tally=Tally())


@pytest.mark.long
def test_all_parsers_for_ten_minutes(capsys: pytest.CaptureFixture[str]) -> None:
    seed, seconds = a_seed(), float(os.environ.get("FUZZ_SECONDS") or SECONDS)
    with capsys.disabled():
        tallies = try_all(PARSERS, seconds=seconds, seed=seed)
        rows = "\n".join(tally.row(name) for name, tally in tallies.items())
        total = sum(tally.examples for tally in tallies.values())
        sys.stderr.write(f"\n{rows}\n{len(PARSERS)} parsers, {total:,} examples in {seconds:g} s, FUZZ_SEED={seed}\n")
    assert [tally.failure for tally in tallies.values() if tally.failure] == []


def test_every_call_of_every_vendor_is_among_the_parsers() -> None:
    named = {parser.name for parser in PARSERS}
    calls = [call for vendor in VENDORS.values() for call in vendor.calls]
    assert {f"reply to {call.partition('.')[2]}" for call in calls} <= named
    assert len(named) == len(PARSERS)
