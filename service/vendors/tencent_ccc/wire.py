"""Base models of TCCC's JSON: PascalCase names, exact in what we send, tolerant in what we read."""

from __future__ import annotations

from pydantic import ConfigDict
from pydantic.alias_generators import to_pascal

from service.vendors.wire_models import WireReply, WireRequest


class TencentRequest(WireRequest):
    """A request's body. Unknown fields are an error at the vendor, so absent ones are left out, never null."""

    model_config = ConfigDict(alias_generator=to_pascal)


class TencentReply(WireReply):
    """The business fields of `Response`; a reply without any is the normal answer to a write."""

    model_config = ConfigDict(alias_generator=to_pascal)


class NothingReply(TencentReply):
    """The answer of CreateExtension, ModifyExtension and BindNumberCallInInterface: no business field."""
