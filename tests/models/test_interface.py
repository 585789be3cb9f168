"""The contract that every registered model keeps, and the table of models."""

from __future__ import annotations

import pytest
import torch

from narformer.models.interface import LatencyModel, register
from narformer.models.nnlp import Nnlp, NnlpConfig
from narformer.models.registry import MODELS, create_model
from narformer.tokens.registry import TOKENIZERS


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_model_answers_what_it_names_and_costs_nothing_to_learn_from(name: str) -> None:
    sizes = {"hidden": 64} if hasattr(MODELS[name].config, "hidden") else {}
    model = create_model(name, sizes, 3).eval()
    assert isinstance(model, LatencyModel)
    assert MODELS[name].tokenizer in TOKENIZERS
    tokens, networks = 5, 2
    batch = (
        torch.zeros(tokens, model.config.token_width),
        torch.tensor([[0, 1, 3], [1, 2, 4]]),
        torch.tensor([0, 0, 0, 1, 1]),
        torch.zeros(networks, model.config.static_width),
    )
    model.schedule(0.5, torch.ones(3))
    with torch.no_grad():
        latency, vector, *extra = model.answers(*batch)
        torch.testing.assert_close(latency, model(*batch))
        torch.testing.assert_close(latency, model.from_embedding(vector))
        assert float(model.penalty(100)) >= 0
    assert latency.shape == (networks, 3)
    of = {"node": tokens, "network": networks}
    assert [each.shape for each in extra] == [(of[name.partition("_")[0]], 3) for name in model.extra_outputs]


def test_a_name_is_given_to_one_model_alone() -> None:
    with pytest.raises(ValueError, match="two models are called nnlp"):
        register("nnlp", NnlpConfig, "nnlp")(Nnlp)
