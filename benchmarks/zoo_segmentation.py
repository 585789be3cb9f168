"""Networks for segmentation that no public package builds: FFNet, PSPNet, DeepLabv3+ on Xception, HRNet for faces.

Each follows the paper or the public description of the network it stands for; contents of weights do not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import timm
import torch
import torchvision.models as vision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock, Bottleneck


def conv(before: int, after: int, window: int = 3, stride: int = 1, act: bool = True) -> nn.Sequential:
    """A convolution with its normalisation, and a rectifier."""
    body = nn.Conv2d(before, after, window, stride, window // 2, bias=False)
    return nn.Sequential(body, nn.BatchNorm2d(after), *([nn.ReLU()] if act else []))


def _stage(before: int, after: int, blocks: int, stride: int) -> nn.Sequential:
    """Basic blocks of a residual network."""
    down = conv(before, after, 1, stride, act=False) if stride > 1 or before != after else None
    return nn.Sequential(
        BasicBlock(before, after, stride, down), *[BasicBlock(after, after) for _ in range(blocks - 1)]
    )


class SlimResNet(nn.Module):
    """A slim residual network with a deep stem: maps at four scales. three: stages behind a third convolution."""

    def __init__(
        self, blocks: Sequence[int], strides: Sequence[int], widths: Sequence[int], three: bool = False
    ) -> None:
        super().__init__()
        first = 64 if three else 32
        self.stem = nn.Sequential(conv(3, first, 3, 2), conv(first, 64, 3, 2))
        self.first = conv(64, widths[0]) if three else nn.Identity()
        self.keeps = three
        before = [widths[0], *widths[1:]] if three else [64, *widths]
        after = widths[1:] if three else widths
        self.stages = nn.ModuleList(
            [_stage(a, b, n, s) for a, b, n, s in zip(before, after, blocks, strides, strict=False)]
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.first(self.stem(x))
        found = [x] if self.keeps else []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found


class FuseUp(nn.Module):
    """FFNet (Mehta et al. 2022): scales brought to some widths, added upwards, put together; 19 classes."""

    def __init__(
        self,
        body: nn.Module,
        read: Sequence[int],
        widths: Sequence[int],
        written: Sequence[int],
        inner: int,
        window: int,
    ) -> None:
        super().__init__()
        self.body = body
        self.adapt = nn.ModuleList([conv(a, b, 1) for a, b in zip(read, widths, strict=True)])
        self.keep = nn.ModuleList([conv(a, b) for a, b in zip(widths, written, strict=True)])
        self.up = nn.ModuleList([conv(widths[k], widths[k - 1], 1) for k in (1, 2, 3)])
        last = nn.Conv2d(inner, 19, window, padding=window // 2)
        head = nn.Conv2d(sum(written), inner, window, padding=window // 2)
        self.head = nn.Sequential(head, nn.BatchNorm2d(inner), nn.ReLU(), last)

    def forward(self, image: Tensor) -> Tensor:
        found = [adapt(x) for adapt, x in zip(self.adapt, self.body(image), strict=True)]
        x, kept = found[3], [self.keep[3](found[3])]
        for k in (2, 1, 0):
            x = F.interpolate(self.up[k](x), found[k].shape[2:], mode="nearest") + found[k]
            kept.insert(0, self.keep[k](x))
        size = kept[0].shape[2:]
        return self.head(torch.cat([kept[0], *[F.interpolate(y, size, mode="nearest") for y in kept[1:]]], 1))


def ffnet(blocks: Sequence[int], deep: bool = True) -> FuseUp:
    """FFNet on four stages; deep: of stride 64 with its widest head, else of stride 32 with its slimmest."""
    widths = (64, 128, 192, 320)
    body = SlimResNet(blocks, (2 if deep else 1, 2, 2, 2), widths)
    if deep:
        return FuseUp(body, widths, (64, 128, 128, 256), (96, 96, 64, 32), 256, 3)
    return FuseUp(body, widths, (128,) * 4, (128, 16, 16, 16), 128, 1)


def narrow_ffnet() -> FuseUp:
    """FFNet-122NS: three stages, the slimmest head."""
    widths = (64, 64, 128, 256)
    body = SlimResNet((16, 24, 20), (2, 2, 2), widths, three=True)
    return FuseUp(body, widths, (128,) * 4, (128, 16, 16, 16), 128, 1)


class Pyramid(nn.Module):
    """PSPNet (Zhao et al. 2017) on ResNet-101: means over 1, 2, 3 and 6 parts, of an image and its mirror image."""

    def __init__(self) -> None:
        super().__init__()
        body: Any = vision.resnet101(replace_stride_with_dilation=[False, True, True])
        stem = nn.Sequential(conv(3, 64, 3, 2), conv(64, 64), conv(64, 128), nn.MaxPool2d(3, 2, 1))
        down = conv(128, 256, 1, act=False)
        first = nn.Sequential(Bottleneck(128, 64, 1, down), *[Bottleneck(256, 64) for _ in range(2)])
        self.body = nn.Sequential(stem, first, body.layer2, body.layer3, body.layer4)
        self.parts = nn.ModuleList([nn.Sequential(nn.AdaptiveAvgPool2d(n), conv(2048, 512, 1)) for n in (1, 2, 3, 6)])
        self.head = nn.Sequential(conv(4096, 512), nn.Conv2d(512, 150, 1))

    def forward(self, image: Tensor) -> Tensor:
        x = self.body(torch.cat([image, image.flip(3)]))
        size = x.shape[2:]
        means = [F.interpolate(part(x), size, mode="bilinear", align_corners=True) for part in self.parts]
        y = self.head(torch.cat([x, *means], 1))
        y = F.interpolate(y, image.shape[2:], mode="bilinear", align_corners=True).softmax(1)
        return ((y[0] + y[1].flip(2)) / 2).unsqueeze(0)


def _separable(before: int, after: int, dilation: int = 1) -> nn.Sequential:
    depthwise = nn.Conv2d(before, before, 3, 1, dilation, dilation, before, bias=False)
    return nn.Sequential(depthwise, nn.BatchNorm2d(before), nn.ReLU(), *conv(before, after, 1))


class DeepLabXception(nn.Module):
    """DeepLabv3+ (Chen et al. 2018) on Xception-65 with an output stride of 16, 21 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.body = timm.create_model("xception65", pretrained=False, output_stride=16)
        self.branches = nn.ModuleList([conv(2048, 256, 1), *[_separable(2048, 256, rate) for rate in (6, 12, 18)]])
        self.whole, self.join, self.skip = conv(2048, 256, 1), conv(1280, 256, 1), conv(128, 48, 1)
        self.last = nn.Sequential(_separable(304, 256), _separable(256, 256), nn.Conv2d(256, 21, 1))

    def forward(self, image: Tensor) -> Tensor:
        network: Any = self.body
        x, low = network.stem(image), None
        for block in network.blocks:
            x = block(x)
            low = x if low is None else low
        x = network.act(x) if hasattr(network, "act") else F.relu(x)
        assert low is not None
        whole = F.interpolate(self.whole(x.mean((2, 3), keepdim=True)), x.shape[2:], mode="bilinear")
        x = self.join(torch.cat([whole, *[branch(x) for branch in self.branches]], 1))
        x = F.interpolate(x, low.shape[2:], mode="bilinear", align_corners=True)
        x = self.last(torch.cat([x, self.skip(low)], 1))
        return F.interpolate(x, image.shape[2:], mode="bilinear", align_corners=True)


class FaceMaps(nn.Module):
    """HRNet for faces (Wang et al. 2020): timm's stages, all scales together, 29 maps."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.head = nn.Sequential(nn.Conv2d(270, 270, 1), nn.BatchNorm2d(270), nn.ReLU(), nn.Conv2d(270, 29, 1))

    def forward(self, x: Tensor) -> Tensor:
        n = self.network
        found = n.stages(n.act2(n.bn2(n.conv2(n.act1(n.bn1(n.conv1(x)))))))
        size = found[0].shape[2:]
        return self.head(torch.cat([found[0], *[F.interpolate(y, size, mode="bilinear") for y in found[1:]]], 1))
