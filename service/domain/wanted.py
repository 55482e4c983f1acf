"""The states a command can want at a vendor: what a plan writes and a vendor's room reads.

A field that is None was not given by the event or the settings and is left as it is at the vendor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from service.domain.account import CallType
from service.domain.outcome import Json


class Wanted(BaseModel):
    """Base of all wanted states: frozen, and exact about its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def given(wanted: Mapping[str, Json]) -> dict[str, Json]:
    """The fields that a wanted state asks for, of its JSON: those that were given, without what completes a create."""
    return {name: value for name, value in wanted.items() if value is not None and name != "last"}


class ExtensionLast(Wanted):
    """What was last applied to an extension, as far as it is known."""

    name: str | None = None
    email: str | None = None
    skill_group_ids: tuple[int, ...] | None = None


class ExtensionWanted(Wanted):
    """An extension with its owner: `tencent_ccc.CreateExtension`.

    `last` completes a create with what is not given; nothing that stands is ever changed to it.
    """

    extension: str
    name: str | None = None
    email: str | None = None
    skill_group_ids: tuple[int, ...] | None = None
    last: ExtensionLast | None = None


class RegistrationWanted(Wanted):
    """The SIP registration of an extension, fetched: `tencent_ccc.DescribeExtension`."""

    extension: str


class NumberApplicationWanted(Wanted):
    """An own number put up for the vendor's review: `tencent_ccc.CreateOwnNumberApply`. `number` is E.164."""

    number: str
    country: str
    sip_trunk_id: int
    call_type: CallType
    max_concurrent_calls: int
    max_calls_per_second: int
    prefix: str | None = None


class NumberLiveWanted(Wanted):
    """An own number reviewed and live: `tencent_ccc.DescribeNumbers`, looked at slowly. `number` is E.164."""

    number: str
    country: str


class CallInWanted(Wanted):
    """A live number's call-in URL: `tencent_ccc.BindNumberCallInInterface`. `number` is E.164."""

    number: str
    country: str
    callback_url: str


class CalledRouteWanted(Wanted):
    """An access code (and extension code) routed to a queue or flow: `huawei_aicc.createCalledRoute`."""

    access_code: str
    ext_code: str | None = None
    media_type: int | None = None
    device_type: Literal["skill_queue", "ivr"]
    device_id: int
