"""Base models of AICC's JSON: camelCase with the vendor's own exceptions, tolerant in what we read."""

from __future__ import annotations

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from service.vendors.wire_models import WireReply, WireRequest


class HuaweiRequest(WireRequest):
    """A request's body; absent fields are left out, never null."""

    model_config = ConfigDict(alias_generator=to_camel)


class HuaweiReply(WireReply):
    """The fields of an answer that we use."""

    model_config = ConfigDict(alias_generator=to_camel)


class NothingReply(HuaweiReply):
    """The answer of createCalledRoute and modifyCalledRoute: a return code and nothing else, not even an id."""
