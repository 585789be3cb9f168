"""The thirteen families and the named architectures by name, and the drawing of new variants."""

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
    named,
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
# What can be built: the families, and architectures known by their own names.
BUILDABLE: Mapping[str, ModuleType] = {**FAMILIES, "named": named}

DRAWS = 100  # tries a variant, before a family is taken to have no more


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
    if name not in BUILDABLE:
        raise DataError(f"unknown family {name!r}; known are {', '.join(BUILDABLE)}")
    return BUILDABLE[name]


def build(
    name: str, config: str, version: str = "", batch_size: int = 1, input_size: int | None = None
) -> onnx.ModelProto:
    """Rebuild the network that `config` describes. Raises DataError where the config or version is not the family's.

    input_size: pixels of the input's sides; the family's own without it.
    """
    module = family(name)
    if version not in module.VERSIONS:
        raise DataError(f"{name} has versions {', '.join(module.VERSIONS)}, not {version!r}")
    size = {} if input_size is None else {"input_size": input_size}
    model: onnx.ModelProto = module.build(config, version, batch_size, **size)
    return model


def sample(name: str, count: int, seed: int = 0, version: str | None = None) -> Iterator[Variant]:
    """Draw `count` different variants: the unscaled network of each version first, then independent choices.

    Without `version`, versions take turns. Duplicates are drawn again. Raises DataError where there are not so many.
    """
    module = family(name)
    if version is not None and version not in module.VERSIONS:
        raise DataError(f"{name} has versions {', '.join(module.VERSIONS)}, not {version!r}")
    versions = module.VERSIONS if version is None else (version,)
    rng = random.Random(f"{name}-{seed}")
    seen: set[tuple[str, str]] = set()
    draws = 0
    while len(seen) < count:
        draws += 1
        if draws > DRAWS * count:
            raise DataError(f"{name} has no {count} different variants; {len(seen)} were found")
        chosen = versions[(draws - 1) % len(versions)]
        config = module.unscaled(chosen) if len(seen) < len(versions) else module.draw(rng, chosen)
        if (chosen, config) not in seen:
            seen.add((chosen, config))
            yield Variant(name, chosen, config)
