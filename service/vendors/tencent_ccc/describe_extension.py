"""DescribeExtension: fetch an extension's SIP registration and hand its password to the credentials port."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, SecretStr

from service.application.ports import Credentials, PresentRead
from service.domain.outcome import Call, ErrorClass, Failure, Json, Move, Outcome, Result, Seen, Succeeded, WhenUnclear
from service.domain.wanted import RegistrationWanted
from service.vendors.tencent_ccc.account import TencentCccAccount
from service.vendors.tencent_ccc.wire import TencentReply, TencentRequest
from service.vendors.wire_models import MaybeLabel

NAME = "tencent_ccc.DescribeExtension"


class DescribeExtensionRequest(TencentRequest):
    """tencentcloud.com/document/product/1229/59751, read 2026-08."""

    sdk_app_id: int
    extension_id: str


class DescribeExtensionReply(TencentReply):
    """`outbound_proxy` is `host:port`; the password comes in clear and is masked from here on."""

    extension_id: str
    extension_domain: MaybeLabel = None
    password: SecretStr | None = Field(default=None, max_length=1024)
    outbound_proxy: MaybeLabel = None
    transport: MaybeLabel = None


class DescribeExtension:
    """Fulfils `VendorOperation`; a read, so an unclear reply is simply tried again."""

    name = NAME
    writes = False
    when_unclear = WhenUnclear.READ_BACK
    present_read: PresentRead | None = None

    def __init__(self, account: TencentCccAccount, credentials: Credentials) -> None:
        """`credentials` is where the password goes, and nowhere else."""
        self._account = account
        self._credentials = credentials

    def decide(self, wanted: Mapping[str, Json], seen: Seen | None, *, ours: bool) -> Move:  # noqa: ARG002 - always asked
        """Ask."""
        want = RegistrationWanted.model_validate(wanted)
        request = DescribeExtensionRequest(sdk_app_id=self._account.sdk_app_id, extension_id=want.extension)
        return Call(operation=NAME, account=self._account.name, body=request.body())

    async def judge(self, wanted: Mapping[str, Json], answer: Mapping[str, Json], call: Call) -> Outcome:
        """Let the password be sealed; all else is a fact, with the full extension as the vendor's lists have it."""
        want = RegistrationWanted.model_validate(wanted)
        reply = DescribeExtensionReply.model_validate(answer)
        if reply.extension_id != want.extension:
            return Failure(
                error_class=ErrorClass.AMBIGUOUS,
                code="UnexpectedReply",
                message="the vendor answered for another extension",
            )
        sealed = await self._seal(reply, call.subject)
        facts = {
            "extension": reply.extension_id,
            "full_extension": f"{reply.extension_id}@{reply.extension_domain}" if reply.extension_domain else None,
            "domain": reply.extension_domain,
            "outbound_proxy": reply.outbound_proxy,
            "transport": reply.transport,
            "credential": "none" if sealed is None else "delivered",
        }
        known = {name: fact for name, fact in facts.items() if fact is not None}
        return Succeeded(result=Result.DONE, facts=known, sealed=sealed)

    async def _seal(self, reply: DescribeExtensionReply, subject: str) -> str | None:
        if reply.password is None or not reply.password.get_secret_value():
            return None
        return await self._credentials.seal(
            subject=subject,
            account=self._account.name,
            extension=reply.extension_id,
            password=reply.password.get_secret_value(),
        )
