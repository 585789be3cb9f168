"""`narformer serve`: answers over HTTP, and a page to look at them."""

from __future__ import annotations

import os
from dataclasses import replace

import typer

from narformer.cli.inputs import PREDICTOR
from narformer.errors import ConfigError, MissingExtraError, installing


def serve(
    host: str = typer.Option(
        "127.0.0.1", "--host", help="Address to listen on; others than this machine need a token."
    ),
    port: int = typer.Option(8000, "--port", min=0, max=65535, help="0 for one that is free."),
    workers: int | None = typer.Option(None, "--workers", min=1, help="Processes that read networks. Default: cores."),
    without_token: bool = typer.Option(False, "--without-token", help="Let everybody ask who reaches the address."),
    allow_host: list[str] = typer.Option([], "--allow-host", help="A name under which it is asked for; repeatable."),
    allow_origin: list[str] = typer.Option([], "--allow-origin", help="A web page elsewhere that may ask; repeatable."),
    behind_proxy: bool = typer.Option(False, "--behind-proxy", help="Take clients' addresses from X-Forwarded-For."),
    max_mb: float = typer.Option(32, "--max-mb", min=0.001, help="Largest network that is taken, in MB."),
    max_nodes: int = typer.Option(200_000, "--max-nodes", min=1, help="Most nodes of a network."),
    max_seconds: float = typer.Option(20, "--max-seconds", min=0.01, help="Longest time for one question."),
    max_memory_mb: float = typer.Option(1024, "--max-memory-mb", min=16, help="Most memory for one question, in MB."),
    max_requests: int = typer.Option(64, "--max-requests", min=1, help="Requests at a time, those waiting included."),
    rate: float | None = typer.Option(
        None, "--rate", min=0, help="Requests a minute from one address, 0 for any. Default: 600 where others can ask."
    ),
    predictor: str | None = PREDICTOR,
    store: str | None = typer.Option(None, "--store", help="Measurements to answer from: path or URL."),
    no_store: bool = typer.Option(False, "--no-store", help="Predict also what was measured."),
) -> None:
    """Answer questions over HTTP and serve a page, until Ctrl-C or SIGTERM. The token is read from $NARFORMER_TOKEN.

    Files are read in processes of their own, with limits on bytes, nodes, seconds and memory. Weights are not needed:
    `narformer predict --server URL` and the page send the structure alone.
    """
    try:
        from narformer.server.run import serve as run
    except ImportError as error:
        raise MissingExtraError(f"serving needs {error.name}, which is not installed: {installing('serve')}") from error
    from narformer.processes import cores
    from narformer.server.settings import MIB, OPEN_RATE, Limits, Settings

    if store and no_store:
        raise ConfigError("--store and --no-store exclude each other")
    settings = Settings(
        host=host,
        port=port,
        workers=workers or max(cores(), 2),
        token=os.environ.get("NARFORMER_TOKEN") or None,
        without_token=without_token,
        hosts=tuple(allow_host),
        origins=tuple(allow_origin),
        behind_proxy=behind_proxy,
        predictor=predictor,
        store=store,
        measured=not no_store,
    )
    rate = rate if rate is not None else 0.0 if settings.loopback and not behind_proxy else OPEN_RATE
    limits = Limits(
        bytes=int(max_mb * MIB),
        nodes=max_nodes,
        seconds=max_seconds,
        memory=int(max_memory_mb * MIB),
        requests=max_requests,
        rate=rate,
    )
    run(replace(settings, limits=limits), lambda address: print(f"narformer: listening on {address}", flush=True))
