"""How fast the token cache is built: networks a second, all cores, from config to tokens on disk.

python benchmarks/token_cache.py
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from narformer.datasets.cache import build_cache
from narformer.datasets.dataset import FamilySource
from narformer.families.registry import FAMILIES, sample

PER_FAMILY = 150


def main() -> None:
    variants = [v for family in FAMILIES for v in sample(family, PER_FAMILY)]
    sources = [FamilySource(v.family, v.config, v.version) for v in variants]
    with tempfile.TemporaryDirectory() as directory:
        started = time.perf_counter()
        build_cache(sources, [str(i) for i in range(len(sources))], Path(directory), "narformer_v2")
        taken = time.perf_counter() - started
    print(
        f"{len(sources)} networks of {len(FAMILIES)} families in {taken:.1f} s: {len(sources) / taken:.0f} networks/s"
    )


if __name__ == "__main__":
    main()
