"""What targets have in common: groups of targets share prices in predictors that know them (models/tally2.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from narformer.errors import ConfigError
from narformer.prediction.hardware import Hardware
from narformer.prediction.target import Target, canonical_id

# Least ms of a run and of a kernel on each kind of hardware. An x86 core's are measured (a lone Relu takes 2.6 µs, two
# hundred of the smallest nodes 90 µs); the others are what no runtime of theirs has been seen to undercut.
_LEAST: Mapping[str, tuple[float, float]] = {
    "x86 cpu": (2e-3, 3e-4),
    "arm cpu": (5e-3, 1e-3),
    "nvidia gpu": (5e-3, 1.5e-3),
    "adreno": (5e-2, 5e-3),
    "hexagon": (3e-2, 2e-4),
    "npu": (5e-2, 2e-3),
}
_LEAST_KNOWN = (1e-3, 1e-4)


def tags(device: str) -> tuple[str, ...]:
    """The groups to which a target belongs, itself the last; what is no target belongs to itself alone.

    >>> tags("cortexA76cpu")[:4]
    ('all', 'cpu', 'arm cpu', 'tflite')
    """
    device = canonical_id(device)
    try:
        target = Target.parse(device)
    except ConfigError:
        return ("all", device)
    facts = target.facts
    if facts.group == "hexagon":
        return _of_an_npu(target, facts.npu_generation)
    # A VPU is an NPU by another name.
    kinds = ("npu", "vpu") if facts.kind == "vpu" else (facts.kind,)
    kind = facts.group or facts.kind or target.hardware
    how = _how(target)
    layout = f"{kind}, {how}, channels last" if "channels-last" in target.variant else ""
    named = (
        "all",
        *kinds,
        facts.group,
        target.runtime_name,
        how,
        f"{kind}, {how}",
        layout,
        target.hardware,
        f"{target.hardware}, {how}",
        target.precision,
        "" if target.threads is None else f"{target.threads}t",
        device,
    )
    return tuple(tag for tag in named if tag)


def _of_an_npu(target: Target, generation: int | None) -> tuple[str, ...]:
    """Qualcomm's NPUs: by generation, runtime and precision, and by pairs of these."""
    kind, runtime, precision = f"hexagon v{generation}", target.runtime, target.precision
    return (
        *("all", "hexagon", "npu", precision, runtime),
        *(f"hexagon, {precision}", f"hexagon, {runtime}", f"hexagon, {runtime}, {precision}"),
        *(kind, f"{kind}, {precision}", f"{kind}, {runtime}"),
        *(target.hardware, f"{target.hardware}, {precision}", f"{target.hardware}, {runtime}"),
        str(target),
    )


def groups(devices: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """For each target the numbers of its groups; groups that have the same targets are one."""
    members: dict[str, tuple[int, ...]] = {}
    for place, device in enumerate(devices):
        for tag in dict.fromkeys(tags(device)):
            members[tag] = (*members.get(tag, ()), place)
    number = {targets: k for k, targets in enumerate(dict.fromkeys(members.values()))}
    return tuple(tuple(k for targets, k in number.items() if place in targets) for place in range(len(devices)))


def least_ms(device: str) -> tuple[float, float]:
    """What a run, and each kernel of it, take at least on a target, in ms."""
    return next((_LEAST[tag] for tag in tags(device) if tag in _LEAST), _LEAST_KNOWN)


def hardware_kind(device: str) -> str:
    """ "cpu", "gpu" or "npu" (a VPU is one by another name); "" for what is no target."""
    return next((kind for kind in ("cpu", "gpu", "npu") if kind in tags(device)), "")


def runtime_kind(device: str) -> str:
    """How a target runs networks: "pytorch eager", "pytorch compiled" or its runtime; "" for what is no target.

    >>> runtime_kind("rtx4090:pytorch-2.9:fp16"), runtime_kind("rtx4090:pytorch-2.9-compiled:fp16")
    ('pytorch eager', 'pytorch compiled')
    """
    try:
        return _how(Target.parse(canonical_id(device)))
    except ConfigError:
        return ""


def _how(target: Target) -> str:
    compiled = "compiled" if "compiled" in target.variant else "eager"
    return f"pytorch {compiled}" if target.runtime_name == "pytorch" else target.runtime_name


def view(device: str) -> str:
    """A name of the targets to which a network looks alike: of one kind of hardware and, but for NPUs, one runtime."""
    try:
        target = Target.parse(canonical_id(device))
    except ConfigError:
        return device
    kind = target.facts.group or target.facts.kind or target.hardware
    return kind if kind == "hexagon" else f"{kind}, {target.runtime_name}"


def description(device: str) -> str:
    """A target for people; empty for what is no target."""
    try:
        return Target.parse(device).description
    except ConfigError:
        return ""


def hardware_of(device: str) -> Hardware | None:
    """What is known of a target's hardware; None for what is no target."""
    try:
        return Target.parse(device).facts
    except ConfigError:
        return None
