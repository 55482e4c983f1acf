"""The redactor: what is registered, what is named like a secret, and addresses; in any structure."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretBytes, SecretStr

from service.adapters.redaction import MOST_PASSING, Redactor

SECRET = "FAKE/canary+key=\u00fc'\n"


@pytest.fixture
def redactor() -> Redactor:
    redactor = Redactor()
    redactor.register(SECRET)
    return redactor


@dataclass
class Thing:
    """Shows its secret in its repr, as a careless class does."""

    content: str


class AngryError(Exception):
    """Carries values in its text."""


@pytest.mark.parametrize(
    "spelling",
    [
        SECRET,
        quote(SECRET, safe=""),
        base64.b64encode(SECRET.encode()).decode(),
        SECRET.encode("unicode_escape").decode(),
        repr(SECRET)[1:-1],
    ],
)
def test_a_registered_secret_goes_in_every_spelling(redactor: Redactor, spelling: str) -> None:
    assert redactor.text(f"before {spelling} after") == "before *** after"


@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        {"a": {"b": [SECRET]}},
        {SECRET: 1},
        (SECRET,),
        {SECRET},
        Thing(SECRET),
        AngryError(SECRET),
        SecretStr(SECRET),
        SecretBytes(SECRET.encode()),
        SECRET.encode(),
        bytearray(SECRET.encode()),
        [Thing(SECRET), {"x": AngryError(f"no {SECRET}")}],
    ],
)
def test_a_registered_secret_goes_from_every_structure(redactor: Redactor, value: object) -> None:
    written = orjson.dumps(redactor.structure({"value": value})).decode()
    assert "canary" not in written


@given(
    st.recursive(
        st.text() | st.just(SECRET) | st.integers() | st.none() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just(SECRET), inner),
    )
)
def test_no_structure_keeps_a_secret(value: Any) -> None:
    redactor = Redactor()
    redactor.register(SECRET)
    assert SECRET not in repr(redactor.structure(value))
    assert repr(SECRET)[1:-1] not in repr(redactor.structure(value))


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "Password",
        "SecretKey",
        "secret_key",
        "X-TC-Token",
        "Authorization",
        "app_secret",
        "accessToken",
        "set-cookie",
    ],
)
def test_a_key_that_names_a_secret_keeps_nothing(redactor: Redactor, key: str) -> None:
    assert redactor.structure({key: "anything", "beside": "this"}) == {key: "***", "beside": "this"}


@pytest.mark.parametrize("key", ["token_seconds", "secret_key_file", "keyboard", "event_key", "passed", "credential"])
def test_a_key_that_only_sounds_like_one_keeps_its_value(redactor: Redactor, key: str) -> None:
    assert redactor.structure({key: "value"}) == {key: "value"}


def test_a_secret_key_without_a_value_says_so(redactor: Redactor) -> None:
    assert redactor.structure({"token": None}) == {"token": None}


@pytest.mark.parametrize("address", ["wei.chen@acme.example", "O'Neil+x@mail.acme.example", "陈伟@例子.example"])
def test_addresses_in_free_text_go(redactor: Redactor, address: str) -> None:
    assert redactor.text(f"for <{address}>, said") == "for <***>, said"


def test_a_long_text_without_an_address_is_quick(redactor: Redactor) -> None:
    assert redactor.text("a" * 200_000 + "@") == "a" * 200_000 + "@"


def test_something_that_contains_itself_ends(redactor: Redactor) -> None:
    loop: list[object] = [SECRET]
    loop.append(loop)
    assert "canary" not in repr(redactor.structure(loop))


def test_passing_secrets_give_way_to_newer_ones_and_never_to_lasting_ones(redactor: Redactor) -> None:
    for number in range(MOST_PASSING + 1):
        redactor.register(f"FAKE-token-{number:05d}", passing=True)
    assert redactor.text("FAKE-token-00000") == "FAKE-token-00000"
    assert redactor.text(f"FAKE-token-{MOST_PASSING:05d} {SECRET}") == "*** ***"


def test_a_secret_within_another_leaves_nothing_of_it() -> None:
    redactor = Redactor()
    redactor.register("FAKE")
    redactor.register("FAKE-longer")
    assert redactor.text("FAKE-longer") == "***"


def test_what_is_too_short_to_be_a_secret_is_not_searched_for() -> None:
    redactor = Redactor()
    redactor.register("")
    redactor.register("a")
    assert redactor.text("a cat") == "a cat"


def test_answers_lose_secrets_and_keep_everything_else(redactor: Redactor) -> None:
    document = {"full_extension": "1001@acme.example", "number": 5, "list": [SECRET, None]}
    assert redactor.json_without_secrets(document) == document | {"list": ["***", None]}


def test_a_secret_that_was_retired_gives_way_to_newer_ones(redactor: Redactor) -> None:
    for turn in range(MOST_PASSING + 2):
        redactor.register(f"FAKE-turn-{turn:04d}")
        redactor.retire(f"FAKE-turn-{turn:04d}")
    assert redactor.text("FAKE-turn-0000 FAKE-turn-0257") == "FAKE-turn-0000 ***"
    assert redactor.text(SECRET) == "***", "what is in use stays hidden"
    redactor.retire("FAKE-never-known")
    assert redactor.text("FAKE-never-known") == "FAKE-never-known"
