"""Starts the workers, then listens; ends when it is told to, after what is under way has been answered."""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import Callable

import uvicorn

from narformer.errors import ConfigError
from narformer.server.app import application
from narformer.server.pool import Pool
from narformer.server.question import Setup
from narformer.server.settings import Settings

GRACE_SECONDS = 5.0  # beyond the time of one question, for what is under way when the service is told to end


def serve(settings: Settings, listening: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C. listening: told the address, once requests are answered there.

    Raises ConfigError for an address that cannot be listened on, DataError and StoreError for a predictor or a store
    that cannot be opened.
    """
    settings.checked()
    limits = settings.limits
    opened = _socket(settings.host, settings.port)
    port = opened.getsockname()[1]
    setup = Setup(settings.predictor, settings.store, settings.measured, limits.nodes, limits.memory)
    with opened, Pool(setup, settings.workers, limits.seconds) as pool:
        app = application(settings, pool)
        gc.freeze()  # as in the workers
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=settings.behind_proxy,
            timeout_graceful_shutdown=int(limits.seconds + GRACE_SECONDS),
            timeout_keep_alive=30,
            lifespan="on",
        )
        for name in (signal.SIGTERM, signal.SIGINT):
            # uvicorn ends in good order, and then raises the signal that it got once more: that is no failure.
            signal.signal(name, lambda *_: None)
        listening(f"http://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{port}")
        uvicorn.Server(config).run([opened])


def _socket(host: str, port: int) -> socket.socket:
    """A socket bound there; requests that come before the workers are ready wait in it."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"{host}: no address to listen on ({error.strerror})") from error
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(1024)
    except OSError as error:
        opened.close()
        raise ConfigError(
            f"{host}:{port}: cannot listen there ({error.strerror}); --port 0 takes a port that is free"
        ) from error
    return opened
