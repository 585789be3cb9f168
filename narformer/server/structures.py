"""Networks sent before, by the hash of what was sent: the latest, up to so many bytes, in memory."""

from __future__ import annotations

from collections import OrderedDict

from narformer.server.failures import Refused
from narformer.server.question import Network


class Structures:
    """Remembers what was uploaded; forgets what was not asked about for the longest time."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.bytes = 0
        self._known: OrderedDict[str, Network] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def add(self, network: Network) -> None:
        """Remember it, as the latest; one that is larger than all that is kept is not."""
        if network.upload in self._known:  # perhaps under another name
            self._known[network.upload] = network
            self._known.move_to_end(network.upload)
            return
        if len(network.data) > self.most_bytes:
            return
        self._known[network.upload] = network
        self.bytes += len(network.data)
        while self.bytes > self.most_bytes:
            self.bytes -= len(self._known.popitem(last=False)[1].data)

    def find(self, hash: str) -> Network:
        """The network of a hash. Raises Refused (404) where it is not known, or not any more."""
        if hash not in self._known:
            raise Refused(404, f"no network of hash {hash} is known here (any more): send its file", "UnknownHashError")
        self._known.move_to_end(hash)
        return self._known[hash]
