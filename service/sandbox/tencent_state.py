"""What stands at Tencent: per application its extensions, number forms and live numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random
from string import ascii_letters, digits
from typing import Any, Literal

from service.sandbox.versioned_table import VersionedTable

FormStatus = Literal["pending", "approved", "refused"]


@dataclass(frozen=True, kw_only=True)
class Extension:
    """A telephone account; times in Unix seconds."""

    extension_id: str
    name: str
    skill_group_ids: tuple[int, ...]
    relation: str
    created_at: int
    modified_at: int
    password: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class NumberForm:
    """A request to use own numbers, waiting for a person; ``due`` (monotonic) is when it is approved by itself."""

    apply_id: int
    sip_trunk_id: int
    numbers: tuple[str, ...]
    status: FormStatus
    due: float | None


@dataclass(frozen=True, kw_only=True)
class LiveNumber:
    """A number in use, in the stored shape (00, country code, national number with its 0)."""

    number: str
    url: str | None = None


class TencentInstance:
    """One TCCC application (SdkAppId)."""

    def __init__(self, sdk_app_id: int) -> None:
        self.sdk_app_id = sdk_app_id
        self.extensions: VersionedTable[str, Extension] = VersionedTable()
        self.numbers: VersionedTable[str, LiveNumber] = VersionedTable()
        self.forms: dict[int, NumberForm] = {}

    @property
    def pending(self) -> list[NumberForm]:
        """Forms that nobody has decided about, oldest first."""
        return [form for form in self.forms.values() if form.status == "pending"]

    def approve_due(self, now: float) -> None:
        """Approve every form whose time has come, as of that time."""
        for form in self.pending:
            if form.due is not None and form.due <= now:
                self.approve(form, at=form.due)

    def approve(self, form: NumberForm, *, at: float) -> None:
        """The form's numbers are live from ``at`` (monotonic seconds)."""
        self.forms[form.apply_id] = replace(form, status="approved")
        for number in form.numbers:
            if self.numbers.current(number) is None:
                self.numbers.put(number, LiveNumber(number=number), at=at)

    def refuse(self, form: NumberForm) -> None:
        """The form is closed; its numbers stay absent."""
        self.forms[form.apply_id] = replace(form, status="refused")

    def as_dict(self) -> Mapping[str, Any]:
        """The effects as JSON, without passwords."""
        return {
            "extensions": {
                e.extension_id: {"name": e.name, "skill_group_ids": list(e.skill_group_ids), "relation": e.relation}
                for e in self.extensions.all_current()
            },
            "applications": [
                {
                    "apply_id": form.apply_id,
                    "sip_trunk_id": form.sip_trunk_id,
                    "numbers": list(form.numbers),
                    "status": form.status,
                }
                for form in self.forms.values()
            ],
            "numbers": {n.number: {"url": n.url} for n in self.numbers.all_current()},
        }


def sip_password(seed: int, sdk_app_id: int, extension_id: str) -> str:
    """The SIP password an extension gets: the same for the same seed, and recognisable as fake."""
    randomness = Random(f"{seed}/{sdk_app_id}/{extension_id}")  # noqa: S311  # fake passwords must be reproducible
    return "FAKE" + "".join(randomness.choices(ascii_letters + digits, k=12))


def stored_number(national: str, *, country_code: str) -> str:
    """``02012345678`` as applied for → ``008602012345678`` as stored and bound."""
    return f"00{country_code}{national}"
