"""The token cache: how fast it is built, from configs to tokens on disk, and read.

    python benchmarks/token_cache.py [--json]

The baseline of building is a loop over the networks in one process that writes a file each; that of reading, to read
and tokenise the networks of a batch again.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from table import Row, compare, main

from narformer.datasets.cache import build_cache
from narformer.datasets.dataset import FamilySource
from narformer.families.registry import FAMILIES, sample
from narformer.tokens.narformer_v2 import tokenize
from narformer.tokens.packing import pack

PER_FAMILY, BATCH = 40, 16


def rows() -> list[Row]:
    variants = [v for family in FAMILIES for v in sample(family, PER_FAMILY)]
    sources = [FamilySource(v.family, v.config, v.version) for v in variants]
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)

        def built() -> None:
            shutil.rmtree(home / "ours", ignore_errors=True)
            build_cache(sources, [str(i) for i in range(len(sources))], home / "ours", "narformer_v2")

        def looped() -> None:
            for number, source in enumerate(sources):
                tokens = tokenize(source.graph())
                np.savez(home / f"{number}.npz", features=tokens.features, edges=tokens.edges, static=tokens.static)

        building = compare(
            f"building the token cache of {len(sources)} networks",
            "one process, a file a network",
            built,
            looped,
            items=len(sources),
            unit="networks/s",
        )
        cache = build_cache(sources, [str(i) for i in range(len(sources))], home / "ours", "narformer_v2")
        chosen = np.random.default_rng(0).permutation(len(sources))[:BATCH]
        reading = compare(
            f"tokens of {BATCH} networks from the cache",
            "built, read and tokenised again",
            lambda: cache.batch(chosen),
            lambda: pack([tokenize(sources[k].graph()) for k in chosen]),
            items=BATCH,
            unit="networks/s",
            repeats=3,
        )
    return [building, reading]


if __name__ == "__main__":
    main(__doc__, rows)
