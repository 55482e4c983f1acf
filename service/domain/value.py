"""What the domain's nouns are made of: values that never change, cheap to make and to make others from.

A hire makes some forty rows of a ledger out of one another; as frozen dataclasses they cost a fifth of all its CPU.
"""

from __future__ import annotations

from msgspec import Struct, field
from msgspec.structs import replace

__all__ = ["Value", "field", "replace"]


class Value(Struct, frozen=True, kw_only=True, gc=False):
    """A noun with named fields. Values hold no reference to what holds them, so that no collector need look at them."""
