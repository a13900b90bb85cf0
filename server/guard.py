"""What every request passes: its size, its time and the number of requests are limited; it is counted and logged."""

from __future__ import annotations

import asyncio
import json
import logging
import time

from starlette.requests import ClientDisconnect

from server.limits import Refused, ServerLimits
from server.metrics import Metrics

_LOG = logging.getLogger("server")
_CLIENT_LEFT = 499  # the status under which servers log that there was nobody to answer to
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
_GRACE = 2.0  # seconds by which what is slow may say so itself


class Guard:
    """An ASGI application around another.

    Args:
        app: the other.
        limits: of a request.
        metrics: that count it.
    """

    def __init__(self, app, limits: ServerLimits, metrics: Metrics):
        self._app, self._limits, self._metrics = app, limits, metrics
        self._running = 0

    async def __call__(self, scope, receive, send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status = time.monotonic(), 0

        async def noting_send(message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        scope["deadline"] = begin + self._limits.seconds
        self._running += 1
        self._metrics.running.inc()
        try:
            await self._answer(scope, receive, noting_send)
        except Refused as error:
            if not status:
                await _refuse(noting_send, error)
        except ClientDisconnect:
            status = status or _CLIENT_LEFT
        except Exception:
            status = status or 500  # what Starlette answers, outside of this
            raise
        finally:
            self._running -= 1
            self._metrics.running.dec()
            seconds, route = time.monotonic() - begin, getattr(scope.get("endpoint"), "__name__", "none")
            method = scope["method"] if scope["method"] in _METHODS else "other"  # a client may send any word
            self._metrics.requests.labels(route, method, str(status)).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            about = {"method": scope["method"], "path": scope["path"], "status": status, "seconds": round(seconds, 4)}
            _LOG.info("request", extra=about)

    async def _answer(self, scope, receive, send) -> None:
        limits = self._limits
        if scope["method"] == "POST" and self._running > limits.requests:
            raise Refused(429, f"{limits.requests} requests are being served or wait: try again in a moment")
        headers = dict(scope["headers"])
        declared, read = headers.get(b"content-length", b"0"), 0
        too_large = Refused(413, f"the request is larger than {limits.upload_bytes / 1e6:g} MB: send a smaller one")
        if declared.isdigit() and int(declared) > limits.upload_bytes:
            await _drain(receive, 4 * limits.upload_bytes)
            raise too_large

        async def counting_receive():
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > limits.upload_bytes:
                raise too_large
            return message

        try:
            await asyncio.wait_for(self._app(scope, counting_receive, send), limits.seconds + _GRACE)
        except asyncio.TimeoutError:
            raise Refused(408, f"the request took longer than {limits.seconds:g} seconds: send a smaller one") from None


async def _drain(receive, most: int) -> None:
    """Reads on for a while: clients that are still sending would not see the answer."""

    async def read() -> None:
        left = most
        while left > 0:
            message = await receive()
            left -= len(message.get("body", b""))
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                return

    try:
        await asyncio.wait_for(read(), 10)
    except asyncio.TimeoutError:
        return


async def _refuse(send, error: Refused) -> None:
    body = json.dumps({"error": str(error)}, ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if error.status in (408, 413):
        headers.append((b"connection", b"close"))
    if error.status == 429:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
