"""The files that TLS with brokers is spoken with, read anew for each connection: renewed ones need no restart."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Paths of PEM files: the authorities trusted (without: the system's), the client's certificate and its key."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def context(self) -> ssl.SSLContext:
        """The client's side, certificates and host names verified. Raises OSError (an SSLError is one)."""
        context = ssl.create_default_context(cafile=self.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file, password=_no_password)
        return context


def _no_password() -> str:
    """A key under a password is refused, not asked about on the terminal."""
    return ""


class RenewedContext(ssl.SSLContext):
    """What aiokafka keeps for good; each handshake goes by the files as they are then.

    Files that can't be used (half of a pair was replaced) leave those before them in force, and are told once.
    """

    _files: TlsFiles
    _last: ssl.SSLContext
    _on_trouble: Callable[[str], None]
    _troubled: bool

    @classmethod
    def of(cls, files: TlsFiles, on_trouble: Callable[[str], None]) -> Self:
        """Raises OSError when the files can't be used to begin with."""
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context._files, context._on_trouble = files, on_trouble
        context._last, context._troubled = files.context(), False
        return context

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Called by asyncio for each connection."""
        try:
            self._last = self._files.context()
            self._troubled = False
        except OSError as trouble:
            if not self._troubled:
                self._on_trouble(type(trouble).__name__)
            self._troubled = True
        return self._last.wrap_bio(*arguments, **options)
