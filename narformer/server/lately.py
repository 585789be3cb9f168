"""Networks that a worker process read lately, so that another target or batch size does not read them anew.

They are few on purpose. Python looks through all objects that a process keeps whenever they have become a quarter more
(its collector's oldest generation), and whoever asks meanwhile waits: of 50,000 nodes a quarter of a second.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple

from narformer.graph import Graph


class Reading(NamedTuple):
    """The Graph of a file, and what is worth knowing of the file."""

    graph: Graph
    notes: tuple[str, ...]


class Lately:
    """Remembers the latest, as many as have so many nodes together; always the last one, however large."""

    def __init__(self, most_nodes: int) -> None:
        self.most_nodes = most_nodes
        self.nodes = 0
        self._known: OrderedDict[Hashable, Reading] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, key: Hashable) -> Reading | None:
        """What was read by this key, which is now the latest; None where it is not known (any more)."""
        if key not in self._known:
            return None
        self._known.move_to_end(key)
        return self._known[key]

    def add(self, key: Hashable, reading: Reading) -> None:
        """Remember it, as the latest, by a key that is not known."""
        self._known[key] = reading
        self.nodes += len(reading.graph)
        while self.nodes > self.most_nodes and len(self._known) > 1:
            self.nodes -= len(self._known.popitem(last=False)[1].graph)
