"""What every request passes first: by which name, with which token, how often, and how many at a time."""

from __future__ import annotations

import hmac
import time
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from narformer.server.failures import Refused, body_of
from narformer.server.metrics import Metrics
from narformer.server.rate import Rate
from narformer.server.settings import Settings

OPEN = ("/healthz",)  # to everybody who reaches the service
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    # The page needs nothing from anywhere else, and nobody may put it into a frame.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; style-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


class Gate:
    """ASGI middleware. What is refused here costs no worker, and its body is not read."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics, rate: Rate, routes: frozenset[str]) -> None:
        """routes: paths that are counted by their own name."""
        self.app, self.settings, self.metrics, self.rate, self.routes = app, settings, metrics, rate, routes
        self.under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with why not."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        asks = path.startswith("/v1/")
        route = path if path in self.routes else "page"
        started, status = time.perf_counter(), 500

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if asks:
            self.under_way += 1
            self.metrics.in_flight.set(self.under_way)
        try:
            refused = self._refusal(scope, path, asks)
            if refused is None:
                await self.app(scope, receive, told)
            else:
                headers = {**refused.headers, "Connection": "close"}
                await Response(body_of(refused), refused.status, headers, "application/json")(scope, receive, told)
        finally:
            if asks:
                self.under_way -= 1
                self.metrics.in_flight.set(self.under_way)
            self.metrics.requests.labels(route, str(status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - started)

    def _refusal(self, scope: MutableMapping[str, Any], path: str, asks: bool) -> Refused | None:
        headers = Headers(scope=scope)
        allowed = self.settings.allowed_hosts
        if allowed and _host(headers.get("host", "")) not in allowed:
            return Refused(421, "this service does not answer to that name; `--allow-host NAME` lets it")
        if path in OPEN or not (asks or path == "/metrics"):
            return None
        if self.settings.token is not None and scope["method"] != "OPTIONS":
            given = headers.get("authorization", "").removeprefix("Bearer ").strip()
            if not hmac.compare_digest(given.encode(), self.settings.token.encode()):
                return Refused(
                    401,
                    "this service wants its token: send the header `Authorization: Bearer TOKEN`; the command line and "
                    "the client take it from $NARFORMER_TOKEN",
                    "TokenError",
                    {"WWW-Authenticate": "Bearer"},
                )
        if not asks:
            return None
        if self.under_way > self.settings.limits.requests:
            return Refused(
                503, "too many requests at a time; ask again in a second", "LimitError", {"Retry-After": "1"}
            )
        wait = self.rate.wait(scope["client"][0] if scope.get("client") else "")
        if wait:
            return Refused(
                429,
                f"too many requests from this address; ask again in {wait} s",
                "LimitError",
                {"Retry-After": str(wait)},
            )
        return None


def _host(header: str) -> str:
    """The name in a Host header, without the port and without the brackets of IPv6."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].lower()
