"""What a runtime has to offer in order to be measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from narformer.measurement.timing import Run
from narformer.measurement.weights import Runnable
from narformer.prediction.target import Target


class Runtime(Protocol):
    """One way to run networks."""

    @property
    def name(self) -> str:
        """As `--runtime` takes it: letters only."""
        ...

    @property
    def install(self) -> str:
        """The command that brings it."""
        ...

    def version(self) -> str:
        """Raises MissingExtraError, naming the command that installs it, where the runtime is absent."""
        ...

    def processors(self) -> tuple[str, ...]:
        """What it can run on here: "cpu", "cuda", ...; the first is the default."""
        ...

    def load(self, network: Runnable, target: Target) -> Run:
        """Prepare a network for a target of this runtime, on this machine.

        Each call of what is returned runs it once and waits until it is done.

        Raises ModelError where the runtime rejects the network.
        """
        ...


def processor_of(target: Target, known: Iterable[str]) -> str:
    """What a target of this machine runs on: "cpu", "cuda", or another processor `known` that its variant names."""
    named = [processor for processor in known if processor in target.variant.split("-")]
    return named[0] if named else "cuda" if target.threads is None else "cpu"
