"""A cluster of Ray: how it is connected to, and which of its machines can measure.

A machine says what it can measure by a custom resource for each piece of hardware, `device:epyc-genoa`, which
`narformer fleet offer` prints for `ray start --resources`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from narformer.errors import ConfigError, MissingExtraError, installing

DEVICE = "device:"  # what the names of our resources begin with
ANSWER_S = 5.0  # to a first connection
LOCAL = "auto"  # the cluster that this machine has joined
EXAMPLE = "10.0.0.1:6379"


def load() -> Any:
    """Ray, with its reports to its makers off. Raises MissingExtraError where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"a fleet needs Ray: {installing('fleet')}") from error
    return ray


@dataclass(frozen=True)
class Machine:
    """A node of the cluster. hardware: what it measures on, by the names that targets have.

    resources: all that Ray knows it to have (cores, GPUs, memory, and our own), by name.
    """

    id: str
    host: str
    hardware: tuple[str, ...]
    resources: Mapping[str, float]

    @property
    def cores(self) -> float:
        """Cores that Ray may use."""
        return self.resources.get("CPU", 0.0)

    @property
    def gpus(self) -> float:
        """GPUs that Ray may use."""
        return self.resources.get("GPU", 0.0)

    def to_dict(self) -> dict[str, Any]:
        """As JSON's types."""
        return {"machine": self.host, "id": self.id, "hardware": self.hardware, "cores": self.cores, "gpus": self.gpus}

    @property
    def whole(self) -> dict[str, Any]:
        """Options of an actor that has the machine for itself: every core, GPU and device of it."""
        devices = {name: amount for name, amount in self.resources.items() if name.startswith(DEVICE)}
        load()
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return {
            "num_cpus": self.cores,
            "num_gpus": self.gpus,
            "resources": devices,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(self.id, soft=False),
        }


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connected to the cluster at `host:port`; as it is where this process is already.

    Raises ConfigError where no cluster answers there, or one of another version of Ray or Python.
    """
    ray = load()
    _answers(address)
    if ray.is_initialized():
        yield
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level="FATAL", namespace="narformer")
    except Exception as error:  # ConnectionError, RuntimeError, ValueError, and what its parts raise
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{address}: cannot join the cluster ({reason or type(error).__name__}); this machine has to be in it: "
            f"ray start --address={address if address != LOCAL else EXAMPLE}"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _answers(address: str) -> None:
    """Raises ConfigError where nothing listens: Ray itself would try for minutes."""
    if address == LOCAL:
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"{address!r} is not the address of a cluster; write host:port, for example {EXAMPLE}")
    try:
        socket.create_connection((host, int(port)), ANSWER_S).close()
    except OSError as error:
        raise ConfigError(
            f"{address}: no cluster answers there ({error.strerror or error}); `ray start --head --port={port}` on "
            f"{host} starts one"
        ) from error


def machines() -> list[Machine]:
    """The nodes that are alive, by host and id."""
    found = []
    for node in load().nodes():
        if node["Alive"]:
            resources = node["Resources"]
            names = sorted(name.removeprefix(DEVICE) for name in resources if name.startswith(DEVICE))
            found.append(Machine(node["NodeID"], node["NodeManagerHostname"], tuple(names), resources))
    return sorted(found, key=lambda machine: (machine.host, machine.id))


def here() -> str:
    """The id of the node on which this process runs."""
    return str(load().get_runtime_context().get_node_id())
