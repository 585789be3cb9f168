"""What known devices make of networks, as a predictor tells it: the profiles from which a new device is learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from narformer.adaptation.prices import Profiles
from narformer.prediction.headline import headlines
from narformer.prediction.predictor import Predictor
from narformer.prediction.reading import Reading
from narformer.prediction.target_groups import tags
from narformer.tokens import runtime_kernels
from narformer.tokens.packing import FloatArray

RELATIVES = 8  # known targets from which a new device is learned
_CLIP = 4.0
_COLUMNS = [runtime_kernels.COLUMN[name] for name in ("macs", "read", "written", "weights", "streamed")]


class Relatives(NamedTuple):
    """Known targets, and how much each counts for before anything was measured; the weights sum to 1."""

    targets: tuple[str, ...]
    weights: tuple[float, ...]


def relatives(target: str, known: Sequence[str], count: int = RELATIVES) -> Relatives:
    """The known targets that are most related to one: that share most groups with it (prediction/target_groups.py).

    Each group that is shared doubles the weight. Of those that share as many, headlines come first.
    """
    first = set(headlines(known))
    chosen = sorted(known, key=lambda each: (-_shared(target, each), each not in first))[:count]
    return Relatives(tuple(chosen), weights_of(target, chosen))


def weights_of(target: str, chosen: Sequence[str]) -> tuple[float, ...]:
    """What each of some relatives of a target counts for; they sum to 1."""
    weights = np.exp2([_shared(target, each) for each in chosen])
    return tuple((weights / weights.sum()).tolist())


def _shared(target: str, other: str) -> int:
    return len(set(tags(target)) & set(tags(other)))


def profile(networks: Sequence[Reading], predictor: Predictor, targets: Sequence[str]) -> Profiles:
    """Profiles of networks that the predictor has read, by what it knows of some of its targets.

    Raises ConfigError for a predictor that does not tell kernels apart.
    """
    novelty = predictor.card.novelty
    work = [work_of(network.tokens.features) for network in networks]
    numbers = np.array([network.statistics for network in networks]).reshape(len(networks), len(novelty.center))
    standardised = np.clip((numbers - novelty.center) / novelty.scale, -_CLIP, _CLIP)
    return Profiles(predictor.by_kind(networks, targets), np.array(work).reshape(len(networks), 4), standardised)


def work_of(features: FloatArray) -> tuple[float, float, float, float]:
    """Of a network's tokens of kernels: how many there are, MACs, bytes of activations, bytes of weights."""
    macs, read, written, weights, streamed = features[:, _COLUMNS].sum(axis=0, dtype=np.float64).tolist()
    return float(len(features)), macs, read + written, weights + streamed
