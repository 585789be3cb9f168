"""The thirteen families by name, and the drawing of new variants."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType

import onnx

from narformer.errors import DataError
from narformer.families import (
    alexnet,
    densenet,
    googlenet,
    mnasnet,
    mobilenetv1,
    mobilenetv2,
    mobilenetv3,
    nasbench201,
    proxylessnas,
    resnet,
    shufflenetv2,
    squeezenet,
    vgg,
)

MODULES = (
    alexnet,
    densenet,
    googlenet,
    mnasnet,
    mobilenetv1,
    mobilenetv2,
    mobilenetv3,
    nasbench201,
    proxylessnas,
    resnet,
    shufflenetv2,
    squeezenet,
    vgg,
)
FAMILIES: Mapping[str, ModuleType] = {module.__name__.rpartition(".")[2]: module for module in MODULES}


@dataclass(frozen=True)
class Variant:
    """One network of a family, as text."""

    family: str
    version: str
    config: str

    def build(self, batch_size: int = 1) -> onnx.ModelProto:
        """The network as weightless ONNX, with the family's own input size."""
        return build(self.family, self.config, self.version, batch_size)


def family(name: str) -> ModuleType:
    """Raises DataError for a family that does not exist."""
    if name not in FAMILIES:
        raise DataError(f"unknown family {name!r}; known are {', '.join(FAMILIES)}")
    return FAMILIES[name]


def build(name: str, config: str, version: str = "", batch_size: int = 1) -> onnx.ModelProto:
    """Rebuild the network that `config` describes. Raises DataError where the config or version is not the family's."""
    module = family(name)
    if version not in module.VERSIONS:
        raise DataError(f"{name} has versions {', '.join(module.VERSIONS)}, not {version!r}")
    model: onnx.ModelProto = module.build(config, version, batch_size)
    return model


def sample(name: str, count: int, seed: int = 0, version: str | None = None) -> Iterator[Variant]:
    """Draw `count` different variants: the unscaled network of each version first, then independent choices.

    Without `version`, versions take turns. Duplicates are drawn again.
    """
    module = family(name)
    if version is not None and version not in module.VERSIONS:
        raise DataError(f"{name} has versions {', '.join(module.VERSIONS)}, not {version!r}")
    versions = module.VERSIONS if version is None else (version,)
    rng = random.Random(f"{name}-{seed}")
    seen: set[tuple[str, str]] = set()
    while len(seen) < count:
        chosen = versions[len(seen) % len(versions)]
        config = module.unscaled(chosen) if len(seen) < len(versions) else module.draw(rng, chosen)
        if (chosen, config) not in seen:
            seen.add((chosen, config))
            yield Variant(name, chosen, config)
