"""What each token reads, how many read it, and through what window: what the tokens of nodes and kernels share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from narformer.tokens.raw import CODE, OPERATIONS, RawNodes

# By operation code; the last entry serves UNKNOWN, which is -1.
_WINDOWED = np.array([name in ("Conv", "ConvTranspose", "MaxPool", "AveragePool") for name in (*OPERATIONS, "")])
WINDOWS = (1, 3, 5, 7)  # sizes that tokens tell apart; every other is one more
Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Surroundings:
    """shapes (N, 4) of outputs, missing dims 1; all others (N,).

    elements: of the output. read: elements of all that is read, and widest: most channels among it; weights left out.
    readers, sources: how many tokens read this one, and are read by it. window, stride: the first size of a window that
    slides, 0 without one, and its step. groups: of a convolution, 1 for everything else.
    """

    shapes: Array
    elements: Array
    read: Array
    widest: Array
    readers: Integers
    sources: Integers
    window: Integers
    stride: Integers
    groups: Integers


def surroundings(raw: RawNodes) -> Surroundings:
    """Of every token of one network or of a whole batch."""
    count = len(raw)
    shapes = np.maximum(raw.shapes, 1).astype(np.float64)
    elements = shapes.prod(axis=1)
    producer, consumer = raw.edges
    widest = np.zeros(count)
    np.maximum.at(widest, consumer, shapes[producer, 1])
    window = np.where(_WINDOWED[raw.operation], raw.attributes[:, 0], 0)
    return Surroundings(
        shapes=shapes,
        elements=elements,
        read=np.bincount(consumer, elements[producer], count).astype(np.float64, copy=False),
        widest=widest,
        readers=np.bincount(producer, minlength=count),
        sources=np.bincount(consumer, minlength=count),
        window=window,
        stride=np.where(window > 0, raw.attributes[:, 1], 1),
        groups=np.where(raw.operation == CODE["Conv"], np.maximum(raw.attributes[:, 4], 1), 1),
    )


def window_place(window: Integers) -> Integers:
    """The place in WINDOWS of each size, len(WINDOWS) for others: (N,) -> (N,)."""
    place = np.full(len(window), len(WINDOWS))
    for k, size in enumerate(WINDOWS):
        place[window == size] = k
    return place
