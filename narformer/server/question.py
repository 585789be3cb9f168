"""What the service hands to a worker process: which networks, and what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from narformer.frontends.sizes import Sizes

Operation: TypeAlias = Literal["predict", "explain", "inspect", "compare", "choose", "targets", "zoo"]


@dataclass(frozen=True)
class Network:
    """A network as a request names it: bytes of a file or of a Graph in JSON, or one of the zoo.

    name: for messages and answers. upload: hash of the bytes, by which they can be asked for again; "" for one of the
    zoo.
    zoo: its name in the zoo, "" for bytes; size, source: which one, where the zoo has several of that name.
    """

    name: str
    upload: str = ""
    data: bytes = b""
    zoo: str = ""
    size: int | None = None
    source: str | None = None

    @property
    def is_graph(self) -> bool:
        """Whether the bytes are a Graph in JSON; no ONNX file begins like one."""
        return self.data[:1] == b"{"


@dataclass(frozen=True)
class Choice:
    """Limits on pretrained networks, and whether also those are wanted that another surpasses."""

    max_ms: float | None = None
    top1: float | None = None
    every: bool = False


@dataclass(frozen=True)
class Question:
    """What is asked of some networks. targets: None for all; sizes: of their inputs, bound or replaced."""

    operation: Operation
    networks: tuple[Network, ...] = ()
    targets: tuple[str, ...] | None = None
    sizes: Sizes = field(default_factory=Sizes)
    measured: bool = True
    choice: Choice = field(default_factory=Choice)


@dataclass(frozen=True)
class Setup:
    """What a worker process is started with; as the settings of the same names."""

    predictor: str | None = None
    store: str | None = None
    measured: bool = True
    nodes: int = 200_000
    memory: int = 1 << 30
