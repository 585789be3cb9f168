"""Make narformer/prediction/zoo-readings.bin: the zoo's networks as predictors on tokens of kernels read them.

    python benchmarks/make_zoo_readings.py

Half a minute of one core. To be run again after every change of tokens, graph statistics, canonical form or zoo;
tests/prediction/test_zoo_readings.py tells when it was forgotten.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from narformer.cli.progress import track
from narformer.datasets import zoo
from narformer.frontends.canonical import canonical
from narformer.prediction.reading import Reading, read
from narformer.prediction.zoo_readings import FILE, write
from narformer.tokens.runtime_kernels import tokenize


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FILE)
    options = parser.parse_args()
    entries = zoo.names()
    write({entry: reading(entry) for entry in track(entries, "reading", len(entries))}, options.out)
    print(f"{options.out}: {len(entries)} networks, {options.out.stat().st_size / 1000:.0f} kB")


def reading(entry: zoo.Entry) -> Reading:
    """One network, read now."""
    form = canonical(zoo.load(entry.name, entry.size or None, source=entry.source))
    return read(form, tokenize(form), entry.name)


if __name__ == "__main__":
    main()
