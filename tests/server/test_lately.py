"""What a worker process keeps of networks that it answered about, and what it leaves behind."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from narformer.graph import Graph, Node, Tensor
from narformer.server import worker
from narformer.server.answers import REMEMBERED_NODES, Answers
from narformer.server.lately import Lately, Reading
from narformer.server.question import Network, Question, Setup

IMAGE = Tensor((1, 3, 8, 8))
TARGET = "adreno-640:tflite-2.1:fp32"


def of_nodes(count: int) -> Reading:
    return Reading(Graph((Node("n", "Relu", (), outputs=(IMAGE,)),) * count, (IMAGE,)), ())


def test_the_latest_are_remembered_and_what_was_not_asked_about_for_longest_is_forgotten() -> None:
    lately = Lately(10)
    lately.add("a", of_nodes(4))
    lately.add("b", of_nodes(4))
    assert lately.find("a") is not None
    lately.add("c", of_nodes(4))
    assert [name for name in "abc" if lately.find(name)] == ["a", "c"]
    assert lately.nodes == 8


def test_one_larger_than_all_that_is_kept_is_remembered_alone() -> None:
    lately = Lately(10)
    lately.add("small", of_nodes(4))
    lately.add("large", of_nodes(100))
    assert len(lately) == 1
    assert lately.find("large") is not None
    lately.add("next", of_nodes(1))
    assert lately.find("large") is None
    assert lately.nodes == 1


@pytest.mark.parametrize(("broken", "status"), [(False, b"200"), (True, b"422")])
def test_an_answer_leaves_nothing_that_only_pythons_collector_frees(
    resnet18: Path, broken: bool, status: bytes
) -> None:
    """Else it has more to look through, while somebody waits. More answers than networks are remembered."""
    answers = Answers(Setup(measured=False))
    data = resnet18.read_bytes()[: 9000 if broken else None]

    def asked(number: int) -> bytes:
        network = Network("model.onnx", str(number), data)
        return worker.answered(answers, Question("predict", (network,), (TARGET,), measured=False))

    first = asked(0)
    gc.collect()
    gc.disable()
    try:
        last = [asked(number) for number in range(1, REMEMBERED_NODES // 40)][-1]
        assert gc.collect() < 100
    finally:
        gc.enable()
    assert first[:4] == last[:4] == worker.GOOD + status
