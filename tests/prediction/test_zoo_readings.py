"""The zoo as predictors read it: the file in the package has what reading the networks now gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from narformer.datasets import zoo
from narformer.datasets.zoo import Entry
from narformer.errors import DataError
from narformer.prediction.predictor import Predictor
from narformer.prediction.reading import Reading
from narformer.prediction.zoo_readings import write, zoo_readings

# Of each kind one: convolutions, attention, windows, recurrent, a decoder's step.
LOOKED_AT = (
    Entry("timm", "resnet18", 224),
    Entry("timm", "mobilenetv3_small_050", 224),
    Entry("timm", "vit_tiny_patch16_224", 224),
    Entry("timm", "swin_tiny_patch4_window7_224", 224),
    Entry("timm", "sequencer2d_s", 224),
    Entry("timm", "ghostnet_100", 224),
    Entry("qai_hub", "whisper_base:decoder", 0),
)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.load()


def now(predictor: Predictor, entry: Entry) -> Reading:
    return predictor.read(zoo.load(entry.name, entry.size or None, source=entry.source))


def assert_same(kept: Reading, fresh: Reading) -> None:
    np.testing.assert_array_equal(kept.tokens.features, fresh.tokens.features)
    np.testing.assert_array_equal(kept.tokens.edges, fresh.tokens.edges)
    np.testing.assert_array_equal(kept.tokens.static, fresh.tokens.static)
    np.testing.assert_allclose(kept.statistics, fresh.statistics, rtol=1e-6)
    for name in ("name", "nodes", "operators", "unknown", "precision", "batch_size"):
        assert getattr(kept, name) == getattr(fresh, name), name


def test_every_network_of_the_zoo_is_there() -> None:
    assert tuple(zoo_readings()) == zoo.names()


@pytest.mark.parametrize("entry", LOOKED_AT, ids=lambda entry: entry.name)
def test_what_is_kept_is_what_is_read_now(predictor: Predictor, entry: Entry) -> None:
    # Where this fails, tokens have changed: python benchmarks/make_zoo_readings.py
    assert_same(zoo_readings()[entry], now(predictor, entry))


def test_readings_are_read_as_they_were_written(predictor: Predictor, tmp_path: Path) -> None:
    fresh = {entry: now(predictor, entry) for entry in LOOKED_AT[:3]}
    write(fresh, tmp_path / "readings.bin")
    kept = zoo_readings(tmp_path / "readings.bin")
    assert list(kept) == list(fresh)
    for entry in fresh:
        assert_same(kept[entry], fresh[entry])


def test_a_reading_gives_the_estimates_of_its_network_at_any_batch(predictor: Predictor) -> None:
    entry = LOOKED_AT[0]
    graph = zoo.load(entry.name, entry.size)
    kept = zoo_readings()[entry]
    for factor in (1, 64):
        (asked,) = predictor.predict_batches([graph], [factor], predictor.devices[-1:])
        (answered,) = predictor.estimates([kept.at_batch(factor)], predictor.devices[-1:])
        assert answered.latency_ms == pytest.approx(asked.latency_ms, rel=1e-6)
        assert answered.warnings == asked.warnings


def test_a_file_that_is_broken_is_told(tmp_path: Path) -> None:
    path = tmp_path / "readings.bin"
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"cannot be read.*make_zoo_readings"):
        zoo_readings(path)
