"""What is fed to parsers: raw bytes, hostile values, and valid documents that were bent out of shape.

`CANARY` stands where a secret could stand; no parser may repeat it. It holds characters that no code, name or id of
ours may have, so that whoever repeats it lets through more than it should.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st

CANARY: Final = "FAKE!canary!of!the!fuzzer"
MOST_BYTES: Final = 256 * 1024
"""No input is longer; each parser has its own bound, and those above this are tested where they are."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Splice:
    """JSON (or YAML) that is written into a document as it stands."""

    text: str

    def __repr__(self) -> str:
        return f"Splice({self.text[:20]!r}…, {len(self.text)} characters)"

    def __deepcopy__(self, _: object) -> Splice:
        return self


def _deep(opening: str, inner: str, closing: str) -> list[Splice]:
    return [Splice(opening * depth + inner + closing * depth) for depth in (130, 300, 1_010, 5_000)]


HOSTILE_TEXTS: Final = (
    "",
    " ",
    "\x00",
    "a\x00b",
    "\r\nX-Injected: 1",
    "\ud800",
    "x\udfffy",
    "\ufeff",
    "\u202egnp.exe",
    "\u2028\u2029",
    "\uff46\uff55\uff4c\uff4c",
    "\u0661\u0662\u0663",
    "\u0130\u0131\u017f\u212a",
    "e\u0301" * 40,
    "👩\u200d👩\u200d👧\u200d👦",
    "\U0010ffff",
    "<script>alert(1)</script>",
    "'; DROP TABLE plans; --",
    "{{7*7}}${7*7}%n%s",
    "../../../../etc/passwd",
    "http://[::1",
    f"https://user:{CANARY}@h\u2100st/",
    f"https://{CANARY}@example.com",
    "9" * 25,
    "9" * 400,
    "-" * 5_000,
    "a" * 20_000,
    "a." * 3_000,
    "1e999",
    "NaN",
    "0x10",
    "1_000",
    "00-" + "0" * 32 + "-" + "0" * 16 + "-01",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59",
    "2026-02-30",
    "2026-12-31T23:59:60Z",
    CANARY,
    f"{CANARY}@example.com",
    f" {CANARY}\n",
)
DEEP: Final = (*_deep("[", "", "]"), *_deep('{"a":', "0", "}"))
NUMBERS: Final = tuple(
    Splice(text)
    for text in (
        *("NaN", "-Infinity", "1e999", "-1e-999", "-0", "0.1e1", "1.0", "5.5", "01", "1e30"),
        *("9007199254740993", "9" * 19, "9" * 30, "9" * 400, "1" + "0" * 5_000),
    )
)
ODD_JSON: Final = tuple(
    Splice(text)
    for text in ("tru", '"\\ud800"', '"\\u0000"', '"\\x"', '{"a":1,"a":2}', '{"\\ud800":1}', '{"":null}', "[]", "{}")
)
HOSTILE_BYTES: Final = (
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\x00\x00\x00\x00\x01",
    b"<?xml version='1.0'?>",
    b'"',
    b"{",
    b"}",
    b"[" * 300,
    b",",
    b"\\",
    b"\r\n\r\n",
    b"NaN",
    b"1e999",
    b"9" * 5_000,
    b"a" * 30_000,
    CANARY.encode(),
)

texts: Final = st.one_of(st.sampled_from(HOSTILE_TEXTS), st.text(max_size=40), st.just(CANARY))
"""Lone surrogates included."""
scalars: Final = st.one_of(
    st.none(),
    st.just(""),
    st.booleans(),
    st.integers(-3, 300),
    st.sampled_from((2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**30)),
    st.floats(),
    texts,
)
values: Final = st.one_of(
    scalars,
    *[st.sampled_from(DEEP)] * 3,
    *[st.sampled_from(NUMBERS)] * 3,
    st.sampled_from(ODD_JSON),
    st.lists(scalars, max_size=3),
    st.dictionaries(texts, scalars, max_size=3),
)
raw: Final = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(HOSTILE_BYTES),
    st.lists(st.sampled_from(HOSTILE_BYTES), max_size=4).map(b"".join),
)


def spelled(value: Any) -> str:
    """The value as JSON, with splices as they are; lone surrogates are escaped."""
    match value:
        case Splice(text):
            return text
        case dict():
            return "{" + ",".join(f"{json.dumps(str(k))}:{spelled(v)}" for k, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(map(spelled, value)) + "]"
        case _:
            return json.dumps(value)


def _members(value: Any) -> list[tuple[Any, Any]]:
    """Every container of a document with a key or index in it."""
    found: list[tuple[Any, Any]] = []
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found += [(value, key), *_members(value[key])]
    return found


@st.composite
def bent(
    draw: st.DrawFn, valid: st.SearchStrategy[Any], strange: st.SearchStrategy[Any] = values, *, most: int = 3
) -> Any:
    """A copy of a document in which up to `most` members were replaced, taken away, renamed or joined by others."""
    document = copy.deepcopy(draw(valid))
    for _ in range(draw(st.sampled_from((1, 0, 1, 2, most)))):
        places = _members(document)
        if not places:
            break
        place, key = draw(st.sampled_from(places))
        _bend(draw, place, key, strange)
    return document


def _bend(draw: st.DrawFn, place: Any, key: Any, strange: st.SearchStrategy[Any]) -> None:
    match draw(st.sampled_from(("replace", "replace", "replace", "replace", "remove", "add", "wrap", "text"))):
        case "remove":
            del place[key]
        case "add" if isinstance(place, dict):
            place[draw(texts)] = draw(strange)
        case "add":
            place.append(draw(strange))
        case "wrap":
            place[key] = [place[key]] * draw(st.integers(1, 3))
        case "text":
            place[key] = str(place[key])
        case _:
            place[key] = draw(strange)


@st.composite
def mangled(draw: st.DrawFn, whole: st.SearchStrategy[bytes], *, most: int = 2) -> bytes:
    """Bytes that were cut, doubled or joined by others, up to `most` times."""
    content = draw(whole)
    for _ in range(draw(st.integers(0, most))):
        start, end = sorted((draw(st.integers(0, len(content))), draw(st.integers(0, len(content)))))
        match draw(st.sampled_from(("cut", "double", "insert", "end"))):
            case "cut":
                content = content[:start] + content[end:]
            case "double":
                content = content[:end] + content[start:end] + content[end:]
            case "insert":
                content = content[:start] + draw(raw) + content[start:]
            case _:
                content = content[:end]
    return content[:MOST_BYTES]


def documents(
    valid: st.SearchStrategy[Any],
    *,
    strange: st.SearchStrategy[Any] = values,
    spell: Callable[[Any], str] = spelled,
) -> st.SearchStrategy[bytes]:
    """Bytes of bent documents, of mangled ones, and of no documents at all: mostly the first."""
    written = bent(valid, strange).map(lambda document: spell(document).encode("utf-8", "surrogatepass"))
    return st.one_of(written, written, mangled(written), mangled(written), raw)
