"""Takes out of what is about to be written what must not be: registered secrets, secret keys, e-mail addresses."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from pydantic import SecretBytes, SecretStr

MASK: Final = "***"
SHORTEST: Final = 4  # characters; hiding shorter ones would shred every line, and they are none
MOST_PASSING: Final = 256  # secrets fetched on the way that are remembered; the oldest goes first
DEEPEST: Final = 12

_SECRET_KEY: Final = re.compile(
    r"(^|_)(pass(word|wd|phrase)|secret|(secret|access|private|api|signing)_?key|token|authorization|cookie|signature)$"
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_EMAIL: Final = re.compile(r"[\w.%+'-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_PLAIN: Final = (bool, int, float, type(None))
PLAIN: Final = (str, *_PLAIN)


class Redactor:
    """Knows the secrets of this process and takes them out of any structure."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._lasting: set[str] = set()
        self._passing: OrderedDict[str, None] = OrderedDict()
        self._needles: Counter[str] = Counter()  # spelling → how many secrets are spelled so

    def register(self, secret: str, *, passing: bool = False) -> None:
        """Hide this value from now on; `passing` ones (fetched tokens and passwords) give way to newer ones."""
        if len(secret) < SHORTEST or secret in self._lasting:
            return
        if passing and secret in self._passing:
            self._passing.move_to_end(secret)
            return
        self._needles.update(set(_spellings(secret)))
        if passing:
            self._passing[secret] = None
            while len(self._passing) > MOST_PASSING:
                self._forget(self._passing.popitem(last=False)[0])
        else:
            self._lasting.add(secret)

    def retire(self, secret: str) -> None:
        """It is out of use: it gives way to newer ones from now on, or renewed ones would pile up."""
        if secret in self._lasting:
            self._lasting.discard(secret)
            self._forget(secret)
            self.register(secret, passing=True)

    def _forget(self, secret: str) -> None:
        for spelling in set(_spellings(secret)):
            self._needles[spelling] -= 1
            if self._needles[spelling] == 0:
                del self._needles[spelling]

    def is_clean(self, text: str) -> bool:
        """Whether there is nothing in the text that `text` would mask; JSON's escapes are seen through."""
        return "@" not in text and not any(needle in text for needle in self._needles)

    def without_secrets(self, text: str) -> str:
        """The text with every registered secret masked, the longest first."""
        found = [needle for needle in self._needles if needle in text]
        for needle in sorted(found, key=len, reverse=True):
            text = text.replace(needle, MASK)
        return text

    def text(self, text: str) -> str:
        """The text with registered secrets and e-mail addresses masked."""
        text = self.without_secrets(text)
        return _EMAIL.sub(MASK, text) if "@" in text else text

    def structure(self, value: object) -> Any:
        """The value as plain JSON data with everything masked that must not be read; keys that name a secret too."""
        return _plain(value, self.text, DEEPEST)

    def json_without_secrets(self, value: object) -> Any:
        """JSON data with registered secrets masked and everything else as it is."""
        match value:
            case str():
                return self.without_secrets(value)
            case Mapping():
                return {self.without_secrets(str(k)): self.json_without_secrets(v) for k, v in value.items()}
            case list() | tuple():
                return [self.json_without_secrets(item) for item in value]
            case _:
                return value


def _spellings(secret: str) -> Iterator[str]:
    """A secret as it may stand in a text: itself, in a URL, in Base64, with escapes."""
    yield secret
    yield quote(secret, safe="")
    yield base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode()
    yield secret.encode("unicode_escape").decode()
    yield repr(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]


def _plain(value: object, clean: Callable[[str], str], depth: int) -> Any:  # noqa: PLR0911 - one row per kind of value
    if isinstance(value, str):
        return clean(str(value))
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, SecretStr | SecretBytes) or depth == 0:
        return MASK
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, Mapping):
        return {clean(str(k)): MASK if _hides(k, v) else _plain(v, clean, depth - 1) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, clean, depth - 1) for item in value]
    if isinstance(value, BaseException):
        return clean(f"{type(value).__name__}: {value}")
    return clean(repr(value))


def _hides(key: object, value: object) -> bool:
    return value is not None and names_a_secret(str(key))


@lru_cache(maxsize=1024)
def names_a_secret(key: str) -> bool:
    """Whether what stands under such a key is a secret by its name."""
    return _SECRET_KEY.search(_CAMEL.sub("_", key).lower().replace("-", "_")) is not None
