"""NAR-Former V2 against the paper's formulas written out network by network, node by node, in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from narformer.cells.models.narformer_v2 import NarformerV2Cells, NarformerV2CellsConfig
from narformer.models.layers import Dropout
from narformer.models.narformer_v2 import NarformerV2, NarformerV2Config

CONFIG = NarformerV2Config(token_width=12, static_width=5, hidden=16, blocks=2, groups=8, outputs=3)


def _network(rng: np.random.Generator, tokens: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    chain = [(i, i + 1) for i in range(tokens - 1)]
    skips = [(i, j) for i in range(tokens) for j in range(i + 2, tokens) if rng.random() < 0.2]
    edges = np.array(chain + skips, dtype=np.int64).reshape(-1, 2).T
    return rng.normal(size=(tokens, CONFIG.token_width)), edges, rng.normal(size=CONFIG.static_width)


def _layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * weight + bias


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _block(w: dict[str, np.ndarray], x: np.ndarray, adjacency: np.ndarray, groups: int) -> np.ndarray:
    """One graph-aided block of one network, dense, in float64."""

    def linear(name: str, value: np.ndarray) -> np.ndarray:
        return value @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0)

    x = x * _sigmoid(linear("attention.degree", adjacency.sum(axis=1, keepdims=True)))
    s = _sigmoid(linear("attention.score", x))
    scores = s @ s.T / math.sqrt(x.shape[1]) * adjacency
    attention = scores / (scores.sum(axis=1, keepdims=True) + 1e-6)
    h = linear("attention.aggregate", attention @ x) + linear("attention.root", x)
    h = np.maximum(h / np.linalg.norm(h, axis=1, keepdims=True), 0)
    normed = _layer_norm(h, w["norm.weight"], w["norm.bias"])
    y = np.zeros_like(h)
    for token in range(len(x)):
        for g, part in enumerate(normed[token].reshape(groups, -1)):
            for name, activation in (("up", True), ("down", False)):
                prefix = f"feed_forward.{name}"
                part = part @ w[f"{prefix}.weight"][g] + w[f"{prefix}.bias"][g, 0]
                part = _layer_norm(part, w[f"{prefix}.norm.weight"], w[f"{prefix}.norm.bias"])
                part = np.maximum(part, 0) if activation else part
            y[token, g * len(part) : (g + 1) * len(part)] = part
    return h + w["scale"] * y


def _adjacency(tokens: int, edges: np.ndarray) -> np.ndarray:
    matrix = np.zeros((tokens, tokens))
    matrix[edges[0], edges[1]] = matrix[edges[1], edges[0]] = 1
    return matrix


def _of_block(weights: dict[str, np.ndarray], block: int) -> dict[str, np.ndarray]:
    return {k.removeprefix(f"blocks.{block}."): v for k, v in weights.items() if k.startswith(f"blocks.{block}.")}


def _head(weights: dict[str, np.ndarray], v: np.ndarray) -> np.ndarray:
    for name in ("hidden_1", "hidden_2"):
        v = np.maximum(v @ weights[f"head.{name}.weight"].T + weights[f"head.{name}.bias"], 0)
    return np.logaddexp(0, -(v @ weights["head.output.weight"].T + weights["head.output.bias"]))


def _reference(weights: dict[str, np.ndarray], x: np.ndarray, edges: np.ndarray, static: np.ndarray) -> np.ndarray:
    """The formulas for whole networks."""
    for b in range(CONFIG.blocks):
        x = _block(_of_block(weights, b), x, _adjacency(len(x), edges), CONFIG.groups)
    branch = np.maximum(static @ weights["static.linear.weight"].T + weights["static.linear.bias"], 0)
    return _head(weights, np.concatenate([x.sum(axis=0), branch]))


def _cells_reference(weights: dict[str, np.ndarray], x: np.ndarray, edges: np.ndarray, blocks: int) -> float:
    """The formulas for cells."""
    averages = []
    for b in range(blocks):
        x = _block(_of_block(weights, b), x, _adjacency(len(x), edges), 8)
        averages.append(x.mean(axis=0))
    hidden = np.maximum(np.concatenate(averages) @ weights["fusion_1.weight"].T + weights["fusion_1.bias"], 0)
    mix = _sigmoid(hidden @ weights["fusion_2.weight"].T + weights["fusion_2.bias"])
    return float(_head(weights, sum(m * a for m, a in zip(mix, averages, strict=True)))[0])


@pytest.fixture(scope="module")
def model() -> NarformerV2:
    torch.manual_seed(3)
    model = NarformerV2(CONFIG).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # nothing may hide behind a start of zeros, ones or 1e-4
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def _forward(model: NarformerV2, networks: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> np.ndarray:
    sizes = [len(x) for x, _, _ in networks]
    offsets = np.cumsum([0, *sizes[:-1]])
    with torch.no_grad():
        return model(
            torch.from_numpy(np.concatenate([x for x, _, _ in networks])),
            torch.from_numpy(np.concatenate([e + o for (_, e, _), o in zip(networks, offsets, strict=True)], axis=1)),
            torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes)),
            torch.from_numpy(np.stack([s for _, _, s in networks])),
        ).numpy()


def test_equals_the_formulas_of_the_paper(model: NarformerV2) -> None:
    rng = np.random.default_rng(0)
    networks = [_network(rng, n) for n in (1, 2, 7, 19)]
    weights = {k: v.double().numpy() for k, v in model.state_dict().items()}
    expected = np.stack([_reference(weights, *network) for network in networks])
    np.testing.assert_allclose(_forward(model, networks), expected, rtol=1e-5)


def test_a_network_alone_and_in_a_batch_gives_the_same() -> None:
    torch.manual_seed(1)
    single = NarformerV2(NarformerV2Config(token_width=12, static_width=5, outputs=2)).eval()
    rng = np.random.default_rng(1)
    networks = [_network(rng, n) for n in (3, 50, 11, 1, 29)]
    networks = [(x.astype(np.float32), e, s.astype(np.float32)) for x, e, s in networks]
    alone = np.concatenate([_forward(single, [network]) for network in networks])
    np.testing.assert_allclose(_forward(single, networks), alone, rtol=1e-5)
    np.testing.assert_allclose(_forward(single, networks[::-1])[::-1], alone, rtol=1e-5)


def test_cells_equal_the_formulas_of_the_paper_alone_and_in_a_batch() -> None:
    torch.manual_seed(4)
    model = NarformerV2Cells(NarformerV2CellsConfig(token_width=12, hidden=16, blocks=3)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    weights = {k: v.numpy() for k, v in model.state_dict().items()}
    rng = np.random.default_rng(3)
    cells = [_network(rng, n)[:2] for n in (2, 7, 5)]
    expected = [_cells_reference(weights, x, edges, 3) for x, edges in cells]
    sizes = [len(x) for x, _ in cells]
    offsets = np.cumsum([0, *sizes[:-1]])
    with torch.no_grad():
        together = model(
            torch.from_numpy(np.concatenate([x for x, _ in cells])),
            torch.from_numpy(np.concatenate([e + o for (_, e), o in zip(cells, offsets, strict=True)], axis=1)),
            torch.from_numpy(np.repeat(np.arange(3), sizes)),
            3,
        )
        x, edges = (torch.from_numpy(a) for a in cells[1])
        alone = model(x, edges, torch.zeros(7, dtype=torch.int64), 1)
    np.testing.assert_allclose(together.numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(alone.numpy(), expected[1:2], rtol=1e-5)


def test_paper_sizes_for_cells() -> None:
    shapes = {name: tuple(p.shape) for name, p in NarformerV2Cells(NarformerV2CellsConfig()).named_parameters()}
    assert shapes["blocks.0.attention.score.weight"] == (128, 128)
    assert shapes["fusion_1.weight"] == (768, 6 * 512)
    assert shapes["fusion_2.weight"] == (6, 768)
    assert shapes["head.hidden_1.weight"] == (512, 512)


def test_the_edges_of_a_network_matter(model: NarformerV2) -> None:
    x, edges, static = _network(np.random.default_rng(2), 9)
    assert not np.allclose(_forward(model, [(x, edges, static)]), _forward(model, [(x, edges[:, :-1], static)]))


def test_paper_sizes() -> None:
    """2 blocks, D 512, tokens 152, static features 40: shapes that weights of the release map onto."""
    shapes = {name: tuple(p.shape) for name, p in NarformerV2(NarformerV2Config()).named_parameters()}
    assert shapes["blocks.0.attention.score.weight"] == (152, 152)
    assert shapes["blocks.0.attention.aggregate.weight"] == (512, 152)
    assert shapes["blocks.1.attention.root.weight"] == (512, 512)
    assert shapes["blocks.0.feed_forward.up.weight"] == (8, 64, 256)
    assert shapes["blocks.0.feed_forward.down.weight"] == (8, 256, 64)
    assert shapes["blocks.0.feed_forward.up.norm.weight"] == (256,)
    assert shapes["head.hidden_1.weight"] == (512, 1024)
    assert shapes["static.linear.weight"] == (512, 40)


def test_long_latencies_neither_overflow_nor_vanish() -> None:
    model = NarformerV2(CONFIG).eval()
    with torch.no_grad():
        model.head.output.bias.fill_(-300.0)
    latency = _forward(
        model, [tuple(a.astype(np.float32) if a.dtype == float else a for a in _network(np.random.default_rng(0), 4))]
    )
    assert np.all(np.abs(latency - 300) < 10)


def test_dropout_keeps_the_mean_and_its_rate() -> None:
    torch.manual_seed(0)
    layer = Dropout(0.05)
    x = torch.ones(2000, 500)
    dropped = layer(x)
    assert abs(float((dropped == 0).float().mean()) - 0.05) < 0.002
    assert float(dropped.max()) == pytest.approx(1 / 0.95)
    assert not torch.equal(dropped, layer(x))
    assert torch.equal(layer.eval()(x), x)
