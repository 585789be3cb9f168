"""The kinds by name, and the network that a kind and a seed stand for: the same for ever, on every machine."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from narformer.errors import DataError
from narformer.families.drawn import convolutions, images, movement, products, sequences
from narformer.families.drawn.convolutions import Kind
from narformer.families.drawn.draw import Draw
from narformer.families.drawn.network import Network

OPERATORS: Mapping[str, Kind] = {**convolutions.KINDS, **products.KINDS, **movement.KINDS}
NETWORKS: Mapping[str, Kind] = {**images.KINDS, **sequences.KINDS}
KINDS: Mapping[str, Kind] = {**OPERATORS, **NETWORKS}


def drawn(kind: str, seed: int, batch: int = 1) -> onnx.ModelProto:
    """A network of the kind as weightless ONNX. Raises DataError for an unknown kind."""
    if kind not in KINDS:
        raise DataError(f"no kind {kind!r}; there are {', '.join(KINDS)}")
    net = Network(f"{kind} {seed}", batch)
    KINDS[kind](net, Draw(f"{kind} {seed}"))
    return net.finish()
