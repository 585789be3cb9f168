"""The contract of every model of whole networks, and the table in which each registers itself.

A file of `models/` that defines a LatencyModel and decorates it with `register` can be trained, evaluated and exported;
nothing else has to know it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from narformer.errors import ConfigError
from narformer.models.price_fit import Shares

Batch = Callable[[npt.NDArray[np.int64]], tuple[Tensor, ...]]


class LatencyModel(nn.Module, ABC):
    """Latencies in ms of the networks of a packed batch, (B, outputs), positive; an output a target.

    All take features (T, token_width), edges (2, E) producer -> consumer, graph (T,) the network each token belongs to,
    and static (B, static_width). Tokens of zeros that belong to a last, empty network fill a batch up; what a network
    gets must not depend on the others of its batch.

    extra_outputs: names of what `answers` gives beyond latency and embedding.
    learns_by_epochs: whether it goes on after `begin`, epoch by epoch.
    """

    extra_outputs: ClassVar[tuple[str, ...]] = ()
    learns_by_epochs: ClassVar[bool] = True
    config: Any

    @abstractmethod
    def embed(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> Tensor:
        """The vector from which every latency is computed, (B, D)."""

    @abstractmethod
    def from_embedding(self, vector: Tensor) -> Tensor:
        """Latencies from the vector of `embed`, (B, outputs)."""

    def forward(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> Tensor:
        """Latencies, (B, outputs)."""
        return self.from_embedding(self.embed(features, edges, graph, static))

    def answers(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> tuple[Tensor, ...]:
        """All that the exported file gives: latency (B, outputs), embedding (B, D), then `extra_outputs`."""
        vector = self.embed(features, edges, graph, static)
        return self.from_embedding(vector), vector

    def begin(
        self, batch: Batch, targets: Tensor, weights: Tensor, shares: Shares | None = None
    ) -> Iterator[tuple[int, int, float]]:
        """Called once before training, for what is learned from all networks at once; most models have nothing to do.

        batch: gives the tensors of `forward` for rows of targets. targets: (rows, outputs) ms, NaN where not measured.
        weights: of the outputs, (outputs,). shares: of kernels in the time of some rows, where a profiler told.
        Yields steps done, steps there are, and the loss.
        """
        return iter(())

    def schedule(self, share: float, measured: Tensor) -> None:  # most models have nothing to schedule
        """Called before an epoch of training.

        share: of the epochs that are done. measured: how many networks there are to learn from, (outputs,).
        """

    def penalty(self, networks: int) -> Tensor | float:
        """Added to the loss of a batch in training. networks: how many there are to learn from."""
        return 0.0

    def with_relative(self, output: int, factors: Mapping[str, float]) -> LatencyModel:
        """The model with one more output: a target that nothing was measured on, from a measured one.

        output: the measured target's. factors: how many times as long a unit of each kind of work takes there.
        Raises ConfigError for a model that knows of no work.
        """
        raise ConfigError(f"{type(self).__name__} knows measured targets alone; leave relatives out")

    def observe(self, features: Tensor, graph: Tensor, measured: Tensor) -> None:
        """Shown all networks learned from once training has ended. measured (B, outputs): where each was measured."""


class KernelSum(LatencyModel):
    """A model whose latency is the sum of its tokens'; `node_latency` (T, outputs) is what each contributes, in ms.

    The embedding begins with ln of the latencies.
    """

    extra_outputs: ClassVar[tuple[str, ...]] = ("node_latency",)

    @abstractmethod
    def parts(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> tuple[Tensor, Tensor]:
        """What `embed` returns, and the milliseconds of each token that it sums, (T, outputs)."""

    def embed(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> Tensor:
        """ln of the latencies, then what else is known of a network: (B, outputs + …)."""
        return self.parts(features, edges, graph, static)[0]

    def from_embedding(self, vector: Tensor) -> Tensor:
        """Latencies from the vector of `embed`, (B, outputs)."""
        return torch.exp(vector[:, : self.config.outputs])

    def answers(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> tuple[Tensor, ...]:
        """Latency, embedding, and the latency of each token."""
        vector, each = self.parts(features, edges, graph, static)
        return self.from_embedding(vector), vector, each


class Entry(NamedTuple):
    """A model's class, its configuration, the tokenizer whose tokens it reads, and training settings of its own.

    related: whether it is told which groups its targets belong to, and which were measured often.
    """

    model: type[LatencyModel]
    config: Any
    tokenizer: str
    training: Mapping[str, Any]
    related: bool


MODELS: dict[str, Entry] = {}
M = TypeVar("M", bound=type[LatencyModel])


def register(
    name: str, config: type, tokenizer: str, *, related: bool = False, training: Mapping[str, Any] | None = None
) -> Callable[[M], M]:
    """A decorator that makes a model known by a name, as `Entry` describes it.

    config: a frozen dataclass of the model's sizes, all with defaults, `outputs` among them. Raises ValueError for a
    name that is taken.
    """

    def decorate(model: M) -> M:
        if name in MODELS:
            raise ValueError(f"two models are called {name}")
        MODELS[name] = Entry(model, config, tokenizer, training or {}, related)
        return model

    return decorate
