"""Training speed: our packed batches against a loop over the networks of a batch, same model, same networks.

    python benchmarks/training_step.py [--json]

The baseline is the straightforward way (and the released one): each network of a batch goes through the blocks alone,
with a dense adjacency matrix, in float32; ours are wide layers in bfloat16.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import torch
from table import Row, compare, main
from torch import Tensor
from torch.nn import functional

from narformer.families.registry import FAMILIES, sample
from narformer.frontends.onnx import read_onnx
from narformer.models.layers import renew_masks
from narformer.models.narformer_v2 import GraphAidedAttention, NarformerV2, NarformerV2Config
from narformer.tokens.narformer_v2 import tokenize
from narformer.tokens.packing import Tokens, pack
from narformer.training.batching import to_tensors
from narformer.training.loop import keep_freed_memory, mixed_precision
from narformer.training.losses import relative_mse

BATCH, STEPS = 16, 8


def dense_attention(layer: GraphAidedAttention, x: Tensor, adjacency: Tensor) -> Tensor:
    x = x * torch.sigmoid(layer.degree(adjacency.sum(dim=1, keepdim=True)))
    s = torch.sigmoid(layer.score(x))
    scores = s @ s.T / math.sqrt(x.shape[1]) * adjacency
    weights = scores / (scores.sum(dim=1, keepdim=True) + 1e-6)
    return functional.normalize(layer.aggregate(weights @ x) + layer.root(x), dim=1)


def looped(model: NarformerV2, networks: list[Tokens]) -> Tensor:
    """The baseline: one network after another."""
    pooled = []
    for tokens in networks:
        x = torch.from_numpy(tokens.features)
        adjacency = torch.zeros(len(x), len(x))
        adjacency[tokens.edges[0], tokens.edges[1]] = 1
        adjacency = adjacency + adjacency.T
        for block in model.blocks:
            h = functional.dropout(functional.relu(dense_attention(block.attention, x, adjacency)), 0.05)
            y = block.norm(h)
            for linear, last in ((block.feed_forward.up, False), (block.feed_forward.down, True)):
                grouped = y.view(len(y), linear.weight.shape[0], -1).transpose(0, 1)
                mapped = linear.norm((torch.bmm(grouped, linear.weight) + linear.bias).transpose(0, 1)).flatten(1)
                y = functional.dropout(mapped if last else functional.relu(mapped), 0.05)
            x = h + block.scale * y
        pooled.append(x.sum(dim=0))
    static = model.static(torch.from_numpy(np.stack([t.static for t in networks])))
    vector = model.head.features(torch.cat([torch.stack(pooled), static], dim=1))
    return model.from_embedding(vector)


def packed(model: NarformerV2, networks: list[Tokens]) -> Tensor:
    with mixed_precision("cpu"):
        return model(*to_tensors(pack(networks), torch.device("cpu")))[: len(networks)]


def rows() -> list[Row]:
    keep_freed_memory()
    networks = [tokenize(read_onnx(v.build())) for family in FAMILIES for v in sample(family, 10)]
    target = torch.rand(BATCH, 4) * 50 + 1
    model = NarformerV2(NarformerV2Config(outputs=4))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    rng = np.random.default_rng(0)
    batches = [[networks[i] for i in rng.permutation(len(networks))[:BATCH]] for _ in range(STEPS)]

    def train(forward: Callable[[NarformerV2, list[Tokens]], Tensor]) -> None:
        for batch in batches:
            loss = relative_mse(forward(model, batch), target)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    renew_masks(model)
    return [
        compare(
            f"training NAR-Former V2, batches of {BATCH}, {torch.get_num_threads()} threads",
            "PyTorch, a loop over the networks of a batch",
            functools.partial(train, packed),
            functools.partial(train, looped),
            items=STEPS * BATCH,
            unit="graphs/s",
        )
    ]


if __name__ == "__main__":
    main(__doc__, rows)
