"""What the service counts, in the text format of Prometheus."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

if TYPE_CHECKING:
    from narformer.server.pool import Pool
    from narformer.server.structures import Structures

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
REASONS = ("time", "memory", "died")


class Metrics:
    """Counters of one service."""

    def __init__(self, pool: Pool, structures: Structures) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("narformer_requests", "Requests answered.", ["route", "status"], registry=registry)
        self.seconds = Histogram(
            "narformer_request_seconds", "From request to answer.", ["route"], buckets=BUCKETS, registry=registry
        )
        self.received = Counter("narformer_received_bytes", "Bytes of networks received.", registry=registry)
        self.in_flight = Gauge("narformer_requests_in_flight", "Requests under way.", registry=registry)
        workers = Gauge("narformer_workers", "Worker processes alive.", registry=registry)
        workers.set_function(lambda: pool.alive)
        ended = Gauge("narformer_workers_ended", "Worker processes replaced, by reason.", ["reason"], registry=registry)
        for reason in REASONS:
            ended.labels(reason).set_function(functools.partial(pool.killed.__getitem__, reason))
        kept = Gauge("narformer_structures", "Networks remembered by their hash.", registry=registry)
        kept.set_function(lambda: len(structures))
        size = Gauge("narformer_structures_bytes", "Bytes of the networks remembered.", registry=registry)
        size.set_function(lambda: structures.bytes)

    def text(self) -> bytes:
        """All counters as Prometheus reads them."""
        return generate_latest(self.registry)
