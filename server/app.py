"""The routes of the server, and what guards them."""

from __future__ import annotations

import asyncio
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server import tf_serving, videos
from server.decoder import Decoders
from server.guard import Guard
from server.limits import Refused, ServerLimits
from server.metrics import Metrics
from server.models import Models

_LOG = logging.getLogger("server")
_HERE = Path(__file__).parent
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src data:; media-src blob:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)


def answer(content: object, status: int = 200) -> Response:
    """A response of JSON; what is no number is NaN, as TensorFlow Serving writes it."""
    return Response(json.dumps(content, ensure_ascii=False), status, media_type="application/json")


def make_app(models: Models, limits: ServerLimits, *, decoders: int, threads: int, poll_seconds: float) -> Starlette:
    """The application.

    Args:
        models: that it serves.
        limits: of a request.
        decoders: processes that decode videos.
        threads: that run networks.
        poll_seconds: between two looks for new versions.
    """
    metrics, computing = Metrics(), ThreadPoolExecutor(threads, "compute")
    looking, pool = ThreadPoolExecutor(decoders, "video"), Decoders(decoders, metrics.decoders_lost.inc)
    files = {name: (_HERE / name).read_text(encoding="utf-8") for name in ("page.html", "page.js")}

    async def page(request: Request) -> Response:
        return Response(files["page.html"], media_type="text/html", headers={"Content-Security-Policy": _POLICY})

    async def script(request: Request) -> Response:
        return Response(files["page.js"], media_type="text/javascript")

    async def healthz(request: Request) -> Response:
        return answer({"status": "ok", "model": models.name, "version": str(models.current.number)})

    async def show_metrics(request: Request) -> Response:
        metrics.version.set(models.current.number)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def model(request: Request) -> Response:
        body = await request.body() if request.method == "POST" else b""  # others have none that is read
        arguments = (request.method, request.url.path, body, models, limits)
        return answer(await asyncio.get_running_loop().run_in_executor(computing, tf_serving.respond, *arguments))

    async def video(request: Request) -> Response:
        if request.method != "POST":
            return answer(videos.describe(models, limits))
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise Refused(415, "expected multipart/form-data with a file for each modality: curl -F rgb=@clip.mp4 …")
        deadline = request.scope["deadline"]
        files = max(8, len(models.current.exported.config.inputs))
        async with request.form(max_files=files, max_fields=8) as form:
            names = [name for name, _ in form.multi_items()]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice:
                raise Refused(400, f"the field {twice!r} is there more than once: send one")
            loop = asyncio.get_running_loop()
            return answer(await loop.run_in_executor(looking, videos.predict, form, models, pool, limits, deadline))

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return answer({"error": str(error)}, error.status)

    async def no_route(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        said = answer({"error": f"{error.detail}: {request.method} {request.url.path}"}, error.status_code)
        said.headers.update(error.headers or {})
        return said

    async def failed(request: Request, error: Exception) -> Response:
        return answer({"error": "an error of the server's own: its log has it"}, 500)

    async def watch() -> None:
        while True:
            await asyncio.sleep(poll_seconds)
            try:
                await asyncio.to_thread(models.refresh)
            except Exception:
                _LOG.exception("looking for versions failed")

    @asynccontextmanager
    async def lifespan(app):
        watching = asyncio.create_task(watch())
        yield
        watching.cancel()
        computing.shutdown(wait=False, cancel_futures=True)
        looking.shutdown(wait=False, cancel_futures=True)
        pool.close()

    routes = [
        Route("/", page),
        Route("/page.js", script),
        Route("/healthz", healthz),
        Route("/metrics", show_metrics),
        Route("/v1/videos", video, methods=["GET", "POST"]),
        Route("/v1/models/{rest:path}", model, methods=["GET", "POST"]),
    ]
    handlers = {Refused: refused, HTTPException: no_route, Exception: failed}
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)
    app.add_middleware(Guard, limits=limits, metrics=metrics)
    return app
