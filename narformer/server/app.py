"""The service as an ASGI application: routes, and what stands around them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse
from starlette.routing import Route

from narformer import __version__
from narformer.errors import NarformerError
from narformer.frontends.sizes import Sizes
from narformer.server.documents import OpenApi, described
from narformer.server.failures import Refused, body_of, status_of
from narformer.server.gate import Gate
from narformer.server.metrics import Metrics
from narformer.server.pool import Pool, Reply
from narformer.server.question import Choice, Network, Question
from narformer.server.rate import Rate
from narformer.server.schema import (
    Choices,
    Choosing,
    Compared,
    Comparing,
    Explained,
    Explaining,
    Health,
    Inspected,
    Inspecting,
    Known,
    Predicted,
    Predicting,
    Sized,
    Targets,
    Zoo,
)
from narformer.server.settings import Settings
from narformer.server.structures import Structures
from narformer.server.uploads import Received, options_of, received

JSON = "application/json"
REMEMBERED_ANSWERS = 64
COMPRESSED_FROM = 32_000  # bytes of an answer
GONE = 499  # the status, which only the counters see, of a request whose client went away
PAGE = Path(__file__).parent / "page"


class Service:
    """What the routes share: the workers, what was sent before, what is counted."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.settings, self.pool = settings, pool
        self.structures = Structures(settings.limits.kept_bytes)
        self.metrics = Metrics(pool, self.structures)
        self._remembered: OrderedDict[str, bytes] = OrderedDict()

    async def asked(self, request: Request, question: Question) -> Response:
        """The worker's answer; a question whose client goes away before it is begun is dropped."""
        future: asyncio.Future[Reply] = asyncio.wrap_future(self.pool.ask(question))
        leaving: asyncio.Future[None] = asyncio.ensure_future(_left(request))
        try:
            both: set[asyncio.Future[Any]] = {future, leaving}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not future.done():
                future.cancel()
                return Response(status_code=GONE)
            reply = future.result()
        finally:
            leaving.cancel()
        return Response(reply.body, reply.status, media_type=JSON)

    async def remembered(self, request: Request, question: Question) -> Response:
        """An answer about no network of the client's: the same as long as the service runs."""
        key = repr(question)
        if key not in self._remembered:
            answer = await self.asked(request, question)
            if answer.status_code != 200:
                return answer
            self._remembered[key] = bytes(answer.body)
            while len(self._remembered) > REMEMBERED_ANSWERS:
                self._remembered.popitem(last=False)
        self._remembered.move_to_end(key)
        return Response(self._remembered[key], media_type=JSON)

    def networks(self, sent: Received, named: Sequence[Known | None]) -> tuple[Network, ...]:
        """The networks that a request names and those that it sends, which are remembered from now on."""
        for network in sent.networks:
            self.metrics.received.inc(len(network.data))
            self.structures.add(network)
        found = (*(self._known(known) for known in named if known is not None), *sent.networks)
        if len(found) > self.settings.limits.networks:
            raise Refused(422, f"{len(found)} networks in one request, more than {self.settings.limits.networks}")
        return found

    def one(self, sent: Received, named: Known | None) -> tuple[Network]:
        """The one network of a request."""
        found = self.networks(sent, [named])
        if len(found) != 1:
            what = "no network" if not found else f"{len(found)} networks"
            raise Refused(
                422, f'{what}: send one file as `model`, or name one in the options: {{"model": {{"zoo": "resnet50"}}}}'
            )
        return found[:1]

    def _known(self, known: Known) -> Network:
        if known.zoo is not None and known.hash is None:
            return Network(known.zoo, zoo=known.zoo, size=known.size, source=known.source)
        if known.hash is not None and (known.zoo, known.size, known.source) == (None, None, None):
            return self.structures.find(known.hash)
        raise Refused(422, "model: give a hash, or the name of a network of the zoo")

    def targets(self, named: Sequence[str] | None) -> tuple[str, ...] | None:
        """The targets asked for; refused where they are too many."""
        most = self.settings.limits.targets
        if named is not None and len(named) > most:
            raise Refused(
                422, f"{len(named)} targets in one request, more than {most}; ask for a part of them at a time"
            )
        return None if named is None else tuple(named)


def application(settings: Settings, pool: Pool) -> FastAPI:
    """The application that answers by these workers, which the caller started."""
    service = Service(settings, pool)

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(pool.close)

    app = FastAPI(
        title="narformer",
        version=__version__,
        description="How fast will this network run there? Send its structure; weights are not needed.",
        docs_url=None,  # its scripts would come from elsewhere
        redoc_url=None,
        lifespan=life,
    )
    app.state.service = service

    @app.post("/v1/predict", **described(Predicting, Predicted, "Latency of one network, with intervals.", "model"))
    async def predict(request: Request) -> Response:
        sent = await received(request, settings.limits)
        asked = options_of(Predicting, sent.options)
        targets = service.targets(asked.targets)
        networks = service.one(sent, asked.model)
        return await service.asked(request, Question("predict", networks, targets, _sizes(asked), asked.measured))

    @app.post("/v1/explain", **described(Explaining, Explained, "Where the time goes, node by node.", "model"))
    async def explain(request: Request) -> Response:
        sent = await received(request, settings.limits)
        asked = options_of(Explaining, sent.options)
        target = None if asked.target is None else (asked.target,)
        networks = service.one(sent, asked.model)
        return await service.asked(request, Question("explain", networks, target, _sizes(asked)))

    @app.post(
        "/v1/inspect",
        **described(Inspecting, Inspected, "What a network costs.", "model"),
    )
    async def inspect(request: Request) -> Response:
        sent = await received(request, settings.limits)
        asked = options_of(Inspecting, sent.options)
        return await service.asked(request, Question("inspect", service.one(sent, asked.model), None, _sizes(asked)))

    @app.post("/v1/compare", **described(Comparing, Compared, "Latency of several networks.", "models"))
    async def compare(request: Request) -> Response:
        sent = await received(request, settings.limits)
        asked = options_of(Comparing, sent.options)
        targets = service.targets(asked.targets)
        networks = service.networks(sent, asked.models)
        if not networks:
            raise Refused(422, "no networks: send files as `model`, or name some in the options as `models`")
        return await service.asked(request, Question("compare", networks, targets, _sizes(asked), asked.measured))

    @app.post("/v1/choose", **described(Choosing, Choices, "Which pretrained network to take on a target."))
    async def choose(request: Request) -> Response:
        sent = await received(request, settings.limits)
        asked = options_of(Choosing, sent.options)
        networks = service.networks(sent, [asked.model])
        if len(networks) > 1:
            raise Refused(422, f"{len(networks)} networks: choose shows one among the pretrained ones")
        choice = Choice(asked.max_ms, asked.top1, asked.every)
        sizes = replace(_sizes(asked), batch_size=asked.batch_size or 1)
        question = Question("choose", networks, (asked.target,), sizes, choice=choice)
        return await (service.asked if networks else service.remembered)(request, question)

    @app.get("/v1/targets", **described(None, Targets, "What can be predicted, and how well."))
    async def targets(request: Request) -> Response:
        return await service.remembered(request, Question("targets"))

    @app.get("/v1/zoo", **described(None, Zoo, "Networks that are known already and need no upload."))
    async def zoo(request: Request) -> Response:
        return await service.remembered(request, Question("zoo"))

    @app.get("/healthz", **described(None, Health, "Whether the service can answer."))
    async def healthz() -> Response:
        health = Health(status="ok" if pool.alive else "starting", version=__version__, workers=pool.alive)
        return Response(health.model_dump_json(), 200 if pool.alive else 503, media_type=JSON)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.exception_handler(NarformerError)
    async def refused(_: Request, error: NarformerError) -> Response:
        headers = error.headers if isinstance(error, Refused) else {}
        return Response(body_of(error), status_of(error), headers, JSON)

    @app.exception_handler(HTTPException)
    async def missing(_: Request, error: HTTPException) -> Response:
        return Response(body_of(Refused(error.status_code, str(error.detail))), error.status_code, error.headers, JSON)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=GONE)

    for file in sorted(PAGE.iterdir()):  # each by its name, so that no other file can be asked for
        for path in (f"/{file.name}", *(["/"] if file.name == "index.html" else [])):
            app.router.routes.append(Route(path, _shown(file), methods=["GET"], include_in_schema=False))
    routes = frozenset(route.path for route in app.routes if isinstance(route, APIRoute))
    app.openapi = OpenApi(app, (Predicting, Explaining, Inspecting, Comparing, Choosing))  # type: ignore[method-assign]
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "content-encoding"],
        )
    app.add_middleware(GZipMiddleware, minimum_size=COMPRESSED_FROM)
    app.add_middleware(Gate, settings=settings, metrics=service.metrics, rate=Rate(settings.limits.rate), routes=routes)
    return app


def _shown(file: Path) -> Callable[[Request], Awaitable[Response]]:
    """Serves one file of the page; a browser asks whether it has changed before it takes its own copy."""

    async def show(_: Request) -> Response:
        return FileResponse(file, headers={"Cache-Control": "no-cache"})

    return show


async def _left(request: Request) -> None:
    """Returns when the client has gone. The body has been read: nothing else comes any more."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _sizes(asked: Sized) -> Sizes:
    shapes: dict[str, tuple[Any, ...]] = {name: tuple(shape) for name, shape in asked.input_shapes.items()}
    return Sizes(asked.batch_size, shapes, dict(asked.dims))
