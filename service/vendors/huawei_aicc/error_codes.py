"""What AICC's answers mean for a write: by HTTP status, then by the `returnCode` of the body.

The statuses' meanings are the vendor's (support.huaweicloud.com/intl/en-us/api-cec/cec_07_1030.html, read 2025-11);
it publishes no list of return codes ("Error Codes: None"), no throttling answer and no class. The classes are our
reasoning about whether the request can have been applied.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from service.domain.outcome import ErrorClass, Failure

SUCCESS = "0"
_CODE = re.compile(r"[A-Za-z0-9._-]{1,64}")

REFUSED_TOKEN = frozenset({401, 403})
"""The access token was refused, so the request was not carried out; a fresh token gets one more try."""

STATUSES: Mapping[int, tuple[ErrorClass, str]] = {
    400: (ErrorClass.PERMANENT, "the vendor refused the request's path or parameters"),
    404: (ErrorClass.PERMANENT, "the vendor does not know the request's path"),
    429: (ErrorClass.THROTTLED, "over the vendor's request rate"),
    500: (ErrorClass.AMBIGUOUS, "the vendor reports a business failure, without saying what stands now"),
}
"""Every other status but 200 comes from something in between and says nothing: ambiguous."""


def failure_for_status(status: int) -> Failure:
    """A reply that is not 200, as a failure."""
    code = f"HTTP{status}"
    if status in REFUSED_TOKEN:
        return Failure(
            error_class=ErrorClass.RETRYABLE,
            code=code,
            message="the vendor refused the access token; a fresh one gets one more try",
            retries=1,
            afterwards=ErrorClass.CREDENTIALS,
        )
    unknown = (ErrorClass.AMBIGUOUS, "something between us and the vendor answered")
    error_class, message = STATUSES.get(status, unknown)
    return Failure(error_class=error_class, code=code, message=message)


def failure_for_return_code(return_code: object) -> Failure:
    """A 200 whose body does not say success: refused, but with no published code nobody knows what stands.

    The code is kept only if it looks like one, for it is published.
    """
    text = str(return_code) if isinstance(return_code, str | int) else ""  # anything else may be nested without end
    readable = _CODE.fullmatch(text)
    return Failure(
        error_class=ErrorClass.AMBIGUOUS,
        code=f"returnCode:{text}" if readable else "UnreadableCode",
        message="the vendor answered with a failure code; its codes are not published",
    )
