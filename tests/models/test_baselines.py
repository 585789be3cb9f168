"""Published models, layer by layer, against dense NumPy on tiny graphs; and every model alone and in a batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from narformer.models.nn_former import GraphMlp, NnFormerConfig, RelationAttention, edge_softmax, relations
from narformer.models.nnlp import SageLayer
from narformer.models.registry import MODELS, create_model
from narformer.models.transformer import place_code

# 0 -> 1, 0 -> 2, 1 -> 3, 2 -> 3, and 4 alone.
EDGES = torch.tensor([[0, 0, 1, 2], [1, 2, 3, 3]])
TOKENS = 5


def dense(edges: torch.Tensor, tokens: int = TOKENS) -> np.ndarray:
    """matrix[reader, seen]."""
    matrix = np.zeros((tokens, tokens))
    np.add.at(matrix, (edges[1].numpy(), edges[0].numpy()), 1)
    return matrix


def adjacency() -> np.ndarray:
    """A[i, j] = 1 for an edge i -> j."""
    matrix = np.zeros((TOKENS, TOKENS))
    matrix[EDGES[0], EDGES[1]] = 1
    return matrix


def numpy_weights(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {k: v.detach().numpy() for k, v in module.state_dict().items()}


def test_the_four_relations_are_those_of_the_paper() -> None:
    a, one = adjacency(), np.eye(TOKENS)
    expected = [a, a.T, a.T @ a, a @ a.T]
    for relation, matrix in zip(relations(EDGES, TOKENS), expected, strict=True):
        np.testing.assert_array_equal(dense(relation), (matrix + one) > 0)


def test_siblings_by_hand() -> None:
    _, _, by_parent, by_child = relations(EDGES, TOKENS)
    pairs = {tuple(p) for p in by_parent.T.tolist() if p[0] != p[1]}
    assert pairs == {(1, 2), (2, 1)}
    assert {tuple(p) for p in by_child.T.tolist() if p[0] != p[1]} == {(1, 2), (2, 1)}


def test_relations_of_a_graph_without_edges_are_the_tokens_themselves() -> None:
    for relation in relations(torch.zeros(2, 0, dtype=torch.int64), 3):
        np.testing.assert_array_equal(dense(relation, 3), np.eye(3))


def test_edge_softmax_sums_to_one_for_each_reader() -> None:
    readers = torch.tensor([0, 0, 2, 2, 2])
    scores = torch.tensor([1.0, 3.0, 1000.0, 1000.0, -1000.0])
    weights = edge_softmax(scores, readers, 3)
    expected = [1 / (1 + math.e**2), math.e**2 / (1 + math.e**2), 0.5, 0.5, 0.0]
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-6)


def test_relation_attention_is_masked_softmax_attention() -> None:
    torch.manual_seed(0)
    layer = RelationAttention(16, 4, 0.1).eval()
    x = torch.randn(TOKENS, 16)
    w = numpy_weights(layer)
    query, key, value = np.split(x.numpy() @ w["query_key_value.weight"].T, 3, axis=1)
    a = adjacency()
    heads = []
    for k, mask in enumerate([a, a.T, a.T @ a, a @ a.T]):
        part = slice(4 * k, 4 * k + 4)
        scores = query[:, part] @ key[:, part].T / 2
        scores[(mask + np.eye(TOKENS)) == 0] = -np.inf
        weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        heads.append(weights @ value[:, part])
    expected = np.concatenate(heads, axis=1) @ w["project.weight"].T
    np.testing.assert_allclose(layer(x, relations(EDGES, TOKENS)).detach().numpy(), expected, rtol=1e-4, atol=1e-6)


def test_the_graph_mlp_sums_children_and_parents_in_its_hidden_layer() -> None:
    torch.manual_seed(1)
    layer = GraphMlp(8, 4, 0.1).eval()
    x = torch.randn(TOKENS, 8)
    w, a = numpy_weights(layer), adjacency()
    graph = x.numpy() @ w["neighbours.weight"].T
    hidden = x.numpy() @ w["up.weight"].T + np.concatenate([a @ graph[:, :16], a.T @ graph[:, 16:]], axis=1)
    expected = np.maximum(hidden, 0) @ w["down.weight"].T
    np.testing.assert_allclose(layer(x, EDGES).detach().numpy(), expected, rtol=1e-4, atol=1e-6)


def test_graph_sage_takes_the_mean_of_neighbours_and_the_token_itself() -> None:
    torch.manual_seed(2)
    layer = SageLayer(6, 4)
    x = torch.randn(TOKENS, 6)
    w = numpy_weights(layer)
    both = adjacency() + adjacency().T
    mean = both @ x.numpy() / np.maximum(both.sum(axis=1, keepdims=True), 1)
    out = mean @ w["neighbours.weight"].T + w["neighbours.bias"] + x.numpy() @ w["root.weight"].T
    expected = out / np.linalg.norm(out, axis=1, keepdims=True)
    result = layer(x, torch.cat([EDGES, EDGES.flip(0)], dim=1)).detach().numpy()
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6)


def test_place_code_is_the_transformers() -> None:
    code = place_code(torch.tensor([3]), 8)[0]
    expected = [f(3 / 10000 ** (2 * i / 8)) for i in range(4) for f in (math.sin, math.cos)]
    np.testing.assert_allclose(code.numpy(), expected, rtol=1e-5)


def _batch(sizes: list[int], token_width: int, static_width: int) -> list[tuple[torch.Tensor, ...]]:
    generator = torch.Generator().manual_seed(5)
    networks = []
    for size in sizes:
        pairs = [(i, j) for i in range(size) for j in range(i + 1, size) if j == i + 1 or (3 * i + j) % 7 == 0]
        edges = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
        features = torch.randn(size, token_width, generator=generator)
        networks.append((features, edges, torch.randn(static_width, generator=generator)))
    return networks


def _packed(networks: list[tuple[torch.Tensor, ...]]) -> tuple[torch.Tensor, ...]:
    sizes = [len(f) for f, _, _ in networks]
    offsets = np.cumsum([0, *sizes[:-1]]).tolist()
    return (
        torch.cat([f for f, _, _ in networks]),
        torch.cat([e + o for (_, e, _), o in zip(networks, offsets, strict=True)], dim=1),
        torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes)),
        torch.stack([s for _, _, s in networks]),
    )


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_gives_a_network_the_same_alone_and_in_a_batch(name: str) -> None:
    torch.manual_seed(0)
    sizes = {"hidden": 64} if hasattr(MODELS[name].config, "hidden") else {}
    model = create_model(name, sizes, 2).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    config = model.config
    networks = _batch([4, 30, 1, 12], config.token_width, config.static_width)
    if name == "tally2":  # its tokens are counts and sizes
        networks = [(features.abs(), edges, static) for features, edges, static in networks]
    with torch.no_grad():
        together = model(*_packed(networks))
        alone = torch.cat([model(*_packed([network])) for network in networks])
        vectors = model.embed(*_packed(networks))
    assert together.shape == (4, 2)
    assert (together > 0).all()
    assert vectors.shape == (4, {"tally": 66, "tally2": 2 + 49}.get(name, 64))
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["nn_former", "narformer_v2", "nnlp"])
def test_models_that_claim_to_read_edges_do(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, {"hidden": 64, **({"layer_scale": 1.0} if name == "nn_former" else {})}, 1).eval()
    config = model.config
    features, edges, graph, static = _packed(_batch([9], config.token_width, config.static_width))
    with torch.no_grad():
        assert not torch.equal(model(features, edges, graph, static), model(features, edges[:, ::2], graph, static))
        turned = model(features, edges.flip(0), graph, static)
        assert torch.allclose(turned, model(features, edges, graph, static), rtol=1e-6) == (name != "nn_former")


def test_nn_formers_layer_scale_starts_small() -> None:
    assert NnFormerConfig().layer_scale == 1e-4
