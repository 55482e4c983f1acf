"""A table that remembers when each value was written, so that reads can be made to lag behind writes."""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class VersionedTable(Generic[K, V]):
    """Values by key with the monotonic second of each write; keys stay in the order of their first write."""

    def __init__(self) -> None:
        self._versions: dict[K, list[tuple[float, V]]] = {}

    def put(self, key: K, value: V, *, at: float) -> None:
        """Write a value as of ``at``; times of one key never go back."""
        self._versions.setdefault(key, []).append((at, value))

    def current(self, key: K) -> V | None:
        """The newest value, as writes see it."""
        versions = self._versions.get(key)
        return versions[-1][1] if versions else None

    def visible(self, key: K, *, at: float) -> V | None:
        """The newest value written at or before ``at``."""
        for written, value in reversed(self._versions.get(key, ())):
            if written <= at:
                return value
        return None

    def all_visible(self, *, at: float) -> list[V]:
        """Every key's newest value written at or before ``at``."""
        found = (self.visible(key, at=at) for key in self._versions)
        return [value for value in found if value is not None]

    def all_current(self) -> list[V]:
        """Every key's newest value."""
        return [versions[-1][1] for versions in self._versions.values()]
