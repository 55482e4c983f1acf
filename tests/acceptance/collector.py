"""A stand-in for an OTLP collector: takes spans over HTTP and keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True, kw_only=True)
class CollectedSpan:
    """A span as it was sent; times are seconds since the epoch."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    begun: float
    ended: float
    attributes: dict[str, str | int | float]


@dataclass
class Collector:
    """What was sent to `endpoint` so far."""

    endpoint: str = ""
    bodies: list[bytes] = field(default_factory=list)
    spans: list[CollectedSpan] = field(default_factory=list)

    def named(self, name: str, **attributes: str) -> list[CollectedSpan]:
        """The spans of one name that have these attributes."""
        return [
            span
            for span in self.spans
            if span.name == name and all(span.attributes.get(key) == value for key, value in attributes.items())
        ]

    async def take(self, request: web.Request) -> web.Response:
        """`POST /v1/traces`."""
        body = await request.read()
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.spans += [
                    CollectedSpan(
                        name=span.name,
                        trace_id=span.trace_id.hex(),
                        span_id=span.span_id.hex(),
                        parent_id=span.parent_span_id.hex(),
                        begun=span.start_time_unix_nano / 1e9,
                        ended=span.end_time_unix_nano / 1e9,
                        attributes={
                            one.key.removeprefix("cordboard."): getattr(one.value, one.value.WhichOneof("value") or "")
                            for one in span.attributes
                        },
                    )
                    for span in scope.spans
                ]
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )


@asynccontextmanager
async def hanging() -> AsyncIterator[str]:
    """The endpoint of a collector that takes connections and never answers."""
    held: list[asyncio.StreamWriter] = []

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.close()
        for writer in held:
            writer.close()


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector that listens on loopback."""
    collector, application = Collector(), web.Application()
    application.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        collector.endpoint = f"http://{host}:{port}"
        yield collector
    finally:
        await runner.cleanup()
