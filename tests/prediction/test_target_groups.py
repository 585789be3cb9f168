"""What targets share: groups follow from the hardware table and the runtime, under former ids as under present ones."""

from __future__ import annotations

import pytest

from narformer.prediction.target import canonical_id
from narformer.prediction.target_groups import description, groups, least_ms, tags

EAGER, COMPILED = "rtx4090:pytorch-2.9:fp16", "rtx4090:pytorch-2.9-compiled:fp16"


def test_targets_of_the_same_hardware_or_runtime_share_groups() -> None:
    assert {"all", "nvidia gpu", "fp16", "pytorch"} <= set(tags(EAGER)) & set(tags(COMPILED))
    assert "rtx4090" in tags(EAGER)
    belongs = groups((EAGER, COMPILED, "i7-12700h:pytorch-2.4-compiled:fp32"))
    assert set(belongs[0]) & set(belongs[1]) - set(belongs[2])
    assert len({each[-1] for each in belongs}) == 3


def test_a_former_id_has_the_groups_of_its_target() -> None:
    former = ("cortexA76cpu", "adreno640", "adreno630", "amd-epyc-milan-onnxruntime1.32-cpu-fp32-t1-b1")
    assert groups(former) == groups([canonical_id(name) for name in former])
    assert {"x86 cpu", "onnxruntime", "1t"} <= set(tags(former[3]))


def test_phones_npus_and_a_vpu_are_npus() -> None:
    assert {"npu", "vpu", "openvino"} <= set(tags("myriadvpu"))
    assert {"npu", "hexagon", "hexagon v79", "hexagon v79, int8"} <= set(tags("galaxy-s25-npu:qnn:int8"))
    belongs = groups(("galaxy-s25-npu:qnn:int8", "galaxy-s25-npu:tflite:fp16", "galaxy-s24-npu:qnn:int8"))
    assert [len(set(belongs[0]) & set(other)) for other in belongs] == [4, 2, 2]


def test_what_is_no_target_belongs_to_itself() -> None:
    assert tags("my-board") == ("all", "my-board")
    assert description("my-board") == ""


@pytest.mark.parametrize("target", ["my-board", "some-board:tflite:fp32", EAGER, "cortexA76cpu"])
def test_a_run_takes_longer_than_a_kernel(target: str) -> None:
    run, kernel = least_ms(target)
    assert run > kernel > 0
