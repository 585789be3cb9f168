"""How good a predictor is on held-out networks, written into its card again; its weights stay as they are.

python benchmarks/held_out.py [configs/tally2.yaml] [narformer/pretrained/tally2.onnx] [--data ROOT] [--check]

A training ends with the same. CONFIG is what it was trained with: its datasets' test rows, less those whose network is
that of a train row under another name, are read, predicted and given intervals as `narformer predict` prints them. It
needs `.[train]` and the public tables (docs/reference/datasets.md); a minute and a half on two cores.

--check: write nothing; exit with 1 where the card says otherwise.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from narformer.cli.progress import track
from narformer.prediction.card import Card
from narformer.prediction.held_out import held_out_scores, write_held_out
from narformer.training.config import load_config
from narformer.training.run import prepare

REPOSITORY = Path(__file__).resolve().parents[1]


def shown(parts: Iterable[Any], count: int) -> Iterator[Any]:
    """How far it is, on standard error."""
    return track(parts, "predicting", count)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, nargs="?", default=REPOSITORY / "configs" / "tally2.yaml")
    parser.add_argument(
        "predictor", type=Path, nargs="?", default=REPOSITORY / "narformer" / "pretrained" / "tally2.onnx"
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    dataset = prepare(load_config(options.config), options.data)
    card = Card.read(options.predictor.with_suffix(".json"))
    before = {output.device: dict(output.held_out) for output in card.outputs}
    if options.check:
        after = {**before, **held_out_scores(options.predictor, dataset, watch=shown)}
    else:
        card = write_held_out(options.predictor, dataset, watch=shown)
        after = {output.device: dict(output.held_out) for output in card.outputs}
    changed = [target for target in before if before[target] != after[target]]
    for target in changed:
        print(f"{target}: {before[target]} -> {after[target]}")
    print(f"{len(changed)} of {len(before)} targets differ")
    return int(bool(changed) and options.check)


if __name__ == "__main__":
    raise SystemExit(main())
