"""The page of something between the caller and the vendor."""

from __future__ import annotations

from service.sandbox.exchange import Answer


def gateway_error(status: int) -> Answer:
    """An HTML error page with an HTTP status of its own."""
    page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>"
    return Answer(status=status, body=page.encode(), result=f"HTTP {status}", content_type="text/html")
