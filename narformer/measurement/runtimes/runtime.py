"""What a runtime has to offer in order to be measured."""

from __future__ import annotations

from typing import Protocol

from narformer.measurement.timing import Run
from narformer.measurement.weights import Runnable


class Runtime(Protocol):
    """One way to run networks."""

    @property
    def name(self) -> str:
        """As in device ids: letters only."""
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

    def load(self, network: Runnable, threads: int, processor: str) -> Run:
        """Prepare a network; each call of what is returned runs it once and waits until it is done.

        Raises ModelError where the runtime rejects the network.
        """
        ...
