"""Modules that no public package builds without weights: upscalers, key points, a decoder's step with its caches.

Each follows the paper or the public description of the network it stands for; contents of weights do not matter.
"""

from __future__ import annotations

from typing import Any

import torch
import torchvision.models as vision
from torch import Tensor, nn
from torch.nn import functional as F


class Only(nn.Module):
    """A network of which the tensors that it returns are taken, or one of them."""

    def __init__(self, network: nn.Module, key: str = "") -> None:
        super().__init__()
        self.network, self.key = network, key

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        found = self.network(*inputs, **named)
        if self.key:
            return found[self.key]
        return found if isinstance(found, Tensor) else [v for v in found.values() if isinstance(v, Tensor)]


class Classes(nn.Module):
    """The most likely class of each pixel, of what a network says of all."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image).argmax(1).to(torch.uint8)


class FramesInPairs(nn.Module):
    """Patches of two frames of a video each, (N, 3, T, H, W) -> (N, patches, width), by convolutions of images."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, width, patch, patch)

    def forward(self, video: Tensor) -> Tensor:
        batch, channels, frames, height, width = video.shape
        pairs = video.reshape(batch, channels, frames // 2, 2, height, width).transpose(1, 2)
        found = self.conv(pairs.reshape(-1, 2 * channels, height, width)).permute(0, 2, 3, 1)
        return found.reshape(batch, -1, found.shape[-1])


# Speech and translation.


class CachedDecoder(nn.Module):
    """One step of a decoder: a token, keys and values of the steps before, and those of the source."""

    def __init__(
        self,
        width: int,
        heads: int,
        inner: int,
        layers: int,
        words: int,
        *,
        source_width: int = 0,
        norm_first: bool = True,
        activation: str = "gelu",
    ) -> None:
        super().__init__()
        self.width, self.heads, self.norm_first = width, heads, norm_first
        self.activation = getattr(F, activation)
        self.embedding, self.positions = nn.Embedding(words, width), nn.Embedding(512, width)
        self.layers = nn.ModuleList()
        for _ in range(layers):
            linear = {name: nn.Linear(width, width) for name in ("q", "k", "v", "out", "cross_q", "cross_out")}
            norms = {name: nn.LayerNorm(width) for name in ("norm", "cross_norm", "last_norm")}
            feed = {"up": nn.Linear(width, inner), "down": nn.Linear(inner, width)}
            self.layers.append(nn.ModuleDict({**linear, **norms, **feed}))
        self.norm = nn.LayerNorm(width)

    def step(self, past: int, source: int) -> tuple[Tensor, ...]:
        """Example inputs: a token, its place, a mask, and for each layer two caches of its own and of the source."""
        own = torch.zeros(1, self.heads, past, self.width // self.heads)
        other = torch.zeros(1, self.heads, source, self.width // self.heads)
        token, place = torch.zeros(1, 1, dtype=torch.int32), torch.zeros(1, 1, dtype=torch.int32)
        return token, place, torch.zeros(1, 1, 1, past + 1), *[own, own, other, other] * len(self.layers)

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(1, 1, self.heads, -1).transpose(1, 2)

    def _joined(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).reshape(1, 1, self.width)

    def forward(self, token: Tensor, place: Tensor, mask: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        x = self.embedding(token) + self.positions(place)
        kept: list[Tensor] = []
        for number, layer in enumerate(self.layers):
            keys, values, source_keys, source_values = caches[4 * number : 4 * number + 4]

            def attend(y: Tensor, layer: Any = layer, keys: Tensor = keys, values: Tensor = values) -> Tensor:
                k = torch.cat([keys, self._heads(layer["k"](y))], 2)
                v = torch.cat([values, self._heads(layer["v"](y))], 2)
                kept.extend([k[:, :, 1:], v[:, :, 1:]])
                found = F.scaled_dot_product_attention(self._heads(layer["q"](y)), k, v, mask)
                return layer["out"](self._joined(found))

            def look(
                y: Tensor, layer: Any = layer, keys: Tensor = source_keys, values: Tensor = source_values
            ) -> Tensor:
                found = F.scaled_dot_product_attention(self._heads(layer["cross_q"](y)), keys, values)
                return layer["cross_out"](self._joined(found))

            def feed(y: Tensor, layer: Any = layer) -> Tensor:
                return layer["down"](self.activation(layer["up"](y)))

            for part, norm in ((attend, "norm"), (look, "cross_norm"), (feed, "last_norm")):
                x = x + part(layer[norm](x)) if self.norm_first else layer[norm](x + part(x))
        x = self.norm(x) if self.norm_first else x
        return (F.linear(x, self.embedding.weight), *kept)


class KeysOfDecoder(nn.Module):
    """An encoder, and the keys and values that each layer of a decoder makes of what it gives."""

    def __init__(self, encoder: nn.Module, width: int, layers: int, target: int = 0) -> None:
        super().__init__()
        self.encoder = encoder
        self.keys = nn.ModuleList([nn.Linear(width, target or width) for _ in range(layers)])
        self.values = nn.ModuleList([nn.Linear(width, target or width) for _ in range(layers)])

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        x = self.encoder(*inputs)[0]
        return [linear(x) for pair in zip(self.keys, self.values, strict=True) for linear in pair]


# Super-resolution, by four in each direction.


class PixelUpscaler(nn.Module):
    """QuickSRNet (Berger et al. 2023): plain convolutions, in the largest beside the image, then pixels."""

    def __init__(self, width: int, layers: int, residual: bool = False) -> None:
        super().__init__()
        parts: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.Hardtanh(0, 1)]
        for _ in range(layers):
            parts += [nn.Conv2d(width, width, 3, padding=1), nn.Hardtanh(0, 1)]
        self.body, self.last = nn.Sequential(*parts), nn.Conv2d(width, 48, 3, padding=1)
        self.anchor = nn.Conv2d(3, 48, 1) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(self.body(x))
        if self.anchor is not None:
            y = self.anchor(x) + y
        return F.pixel_shuffle(F.hardtanh(y, 0, 1), 4)


class _Expanded(nn.Module):
    """SESR's linear block as it is trained: a convolution to 256 channels, then one of one pixel."""

    def __init__(self, before: int, after: int, window: int, residual: bool = False) -> None:
        super().__init__()
        self.residual = residual
        self.expand = nn.Conv2d(before, 256, window, padding=window // 2, bias=False)
        self.squeeze = nn.Conv2d(256, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.squeeze(self.expand(x))
        return x + y if self.residual else y


class LinearBlocks(nn.Module):
    """SESR (Bhardwaj et al. 2022), linear blocks not collapsed: so it was measured, with 343 thousand parameters."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.anchor, self.first = nn.Conv2d(3, 48, 1), _Expanded(3, width, 5)
        self.body = nn.Sequential(
            *[nn.Sequential(_Expanded(width, width, 3, residual=True), nn.ReLU()) for _ in range(layers)]
        )
        self.last, self.shuffle = _Expanded(width, 48, 5), nn.PixelShuffle(4)

    def forward(self, x: Tensor) -> Tensor:
        first = F.relu(self.first(x))
        return self.shuffle(self.last(self.body(first) + first) + self.anchor(x))


class _Dense(nn.Module):
    """Five convolutions, each of which reads all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(64 + 32 * k, 32 if k < 4 else 64, 3, padding=1) for k in range(5)])

    def forward(self, x: Tensor) -> Tensor:
        found = [x]
        for conv in self.convs[:-1]:
            found.append(F.leaky_relu(conv(torch.cat(found, 1)), 0.2))
        return self.convs[-1](torch.cat(found, 1)) * 0.2 + x


class DenseUpscaler(nn.Module):
    """ESRGAN (Wang et al. 2018): residual dense blocks in threes, two doublings by nearest neighbours."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.first, self.trunk = nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1)
        self.blocks = nn.ModuleList([nn.Sequential(_Dense(), _Dense(), _Dense()) for _ in range(blocks)])
        self.ups = nn.ModuleList([nn.Conv2d(64, 64, 3, padding=1) for _ in range(2)])
        self.high, self.last = nn.Conv2d(64, 64, 3, padding=1), nn.Conv2d(64, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        first = y = self.first(x)
        for block in self.blocks:
            y = block(y) * 0.2 + y
        y = first + self.trunk(y)
        for up in self.ups:
            y = F.leaky_relu(up(F.interpolate(y, scale_factor=2, mode="nearest")), 0.2)
        return self.last(F.leaky_relu(self.high(y), 0.2))


class ResidualUpscaler(nn.Module):
    """SRGAN's generator (Ledig et al. 2017)."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 64, 9, padding=4), nn.PReLU())
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(64, 64, 3, padding=1, bias=False),
                    nn.BatchNorm2d(64),
                    nn.PReLU(),
                    nn.Conv2d(64, 64, 3, padding=1, bias=False),
                    nn.BatchNorm2d(64),
                )
                for _ in range(blocks)
            ]
        )
        self.trunk = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64))
        ups = [(nn.Conv2d(64, 256, 3, padding=1), nn.PixelShuffle(2), nn.PReLU()) for _ in range(2)]
        self.last = nn.Sequential(*[part for up in ups for part in up], nn.Conv2d(64, 3, 9, padding=4), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        first = y = self.first(x)
        for block in self.blocks:
            y = y + block(y)
        return self.last(first + self.trunk(y))


# Segmentation, restoration, key points, detection.


def _twice(before: int, after: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for width in (before, after):
        parts += [nn.Conv2d(width, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*parts)


class UNet(nn.Module):
    """U-Net (Ronneberger et al. 2015) with transposed convolutions, 64 to 1,024 channels, two classes."""

    def __init__(self) -> None:
        super().__init__()
        widths = [64, 128, 256, 512, 1024]
        self.enter = _twice(3, 64)
        self.downs = nn.ModuleList([_twice(a, 2 * a) for a in widths[:-1]])
        self.ups = nn.ModuleList([nn.ConvTranspose2d(a, a // 2, 2, 2) for a in widths[:0:-1]])
        self.joins = nn.ModuleList([_twice(a, a // 2) for a in widths[:0:-1]])
        self.leave = nn.Conv2d(64, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        found = [self.enter(x)]
        for down in self.downs:
            found.append(down(F.max_pool2d(found[-1], 2)))
        y = found.pop()
        for up, join in zip(self.ups, self.joins, strict=True):
            y = join(torch.cat([found.pop(), up(y)], 1))
        return self.leave(y)


class OverChannels(nn.LayerNorm):
    """Layer normalisation over the channels of an image."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Gated(nn.Module):
    """NAFNet's block: no activation but products of halves; attention of channels without any."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.norm2 = OverChannels(width), OverChannels(width)
        self.enter, self.leave = nn.Conv2d(width, 2 * width, 1), nn.Conv2d(width, width, 1)
        self.depthwise = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.attention = nn.Conv2d(width, width, 1)
        self.up, self.down = nn.Conv2d(width, 2 * width, 1), nn.Conv2d(width, width, 1)
        self.beta, self.gamma = (nn.Parameter(torch.zeros(1, width, 1, 1)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.depthwise(self.enter(self.norm(x))).chunk(2, 1)
        y = first * second
        y = y * self.attention(y.mean((2, 3), keepdim=True))
        x = x + self.leave(y) * self.beta
        first, second = self.up(self.norm2(x)).chunk(2, 1)
        return x + self.down(first * second) * self.gamma


class Denoiser(nn.Module):
    """NAFNet (Chen et al. 2022): blocks on the way down, in the middle and up, of a U with strided convolutions."""

    def __init__(self, width: int, down: tuple[int, ...], middle: int, up: tuple[int, ...]) -> None:
        super().__init__()
        self.enter, self.leave = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1)
        widths = [width * 2**k for k in range(len(down) + 1)]
        self.down = nn.ModuleList(
            [nn.Sequential(*[_Gated(w) for _ in range(n)]) for w, n in zip(widths, down, strict=False)]
        )
        self.halve = nn.ModuleList([nn.Conv2d(w, 2 * w, 2, 2) for w in widths[:-1]])
        self.middle = nn.Sequential(*[_Gated(widths[-1]) for _ in range(middle)])
        self.expand = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(w, 2 * w, 1, bias=False), nn.PixelShuffle(2)) for w in widths[:0:-1]]
        )
        self.up = nn.ModuleList(
            [nn.Sequential(*[_Gated(w) for _ in range(n)]) for w, n in zip(widths[-2::-1], up, strict=True)]
        )

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[2:]
        image = F.pad(image, (0, -width % 16, 0, -height % 16))
        x = self.enter(image)
        found = []
        for blocks, halve in zip(self.down, self.halve, strict=True):
            x = blocks(x)
            found.append(x)
            x = halve(x)
        x = self.middle(x)
        for expand, blocks in zip(self.expand, self.up, strict=True):
            x = blocks(expand(x) + found.pop())
        return (self.leave(x) + image)[:, :, :height, :width]


def _separable(before: int, after: int, stride: int, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, before, 3, stride, dilation, dilation, before, bias=False),
        nn.BatchNorm2d(before),
        nn.ReLU6(),
        nn.Conv2d(before, after, 1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU6(),
    )


_MOBILE = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5)


def _mobile(channels: int, rest: tuple[tuple[int, int, int], ...]) -> nn.Sequential:
    """MobileNet's first layers, then those given with width, stride and dilation."""
    parts: list[nn.Module] = [nn.Conv2d(channels, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6()]
    before = 32
    for width, stride, dilation in (*[(w, s, 1) for w, s in _MOBILE], *rest):
        parts.append(_separable(before, width, stride, dilation))
        before = width
    return nn.Sequential(*parts)


class PoseHeads(nn.Module):
    """PoseNet on MobileNet with an output stride of 16: key points, offsets, displacements forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.body = _mobile(3, ((1024, 1, 2), (1024, 1, 2)))
        self.heads = nn.ModuleList([nn.Conv2d(1024, count, 1) for count in (17, 34, 32, 32)])

    def forward(self, x: Tensor) -> list[Tensor]:
        y = self.body(x * (2.0 / 255.0) - 1.0)
        return [torch.sigmoid(head(y)) if k == 0 else head(y) for k, head in enumerate(self.heads)]


class SoundEvents(nn.Module):
    """YAMNet: MobileNet over 0.96 s of a mel spectrogram, 521 events."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = _mobile(1, ((1024, 2, 1), (1024, 1, 1))), nn.Linear(1024, 521)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.head(self.body(x).mean((2, 3))))


class KeyPoints(nn.Module):
    """SuperPoint (DeTone et al. 2018): scores and descriptors of each eighth pixel, of two images.

    As its authors trained it again, in PyTorch: each rectifier before its normalisation.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = ((1, 64), (64, 64), (64, 64), (64, 64), (64, 128), (128, 128), (128, 128), (128, 128))
        self.convs = nn.ModuleList([self._conv(a, b) for a, b in widths])
        self.scores = nn.Sequential(self._conv(128, 256), nn.Conv2d(256, 65, 1), nn.BatchNorm2d(65))
        self.words = nn.Sequential(self._conv(128, 256), nn.Conv2d(256, 256, 1), nn.BatchNorm2d(256))
        self.grey = nn.Parameter(torch.zeros(1, 3, 1, 1))

    @staticmethod
    def _conv(before: int, after: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(after))

    def one(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = (image * self.grey).sum(1, keepdim=True)
        for index, conv in enumerate(self.convs):
            x = conv(x)
            if index in (1, 3, 5):
                x = F.max_pool2d(x, 2)
        scores = self.scores(x).softmax(1)[:, :-1]
        return F.pixel_shuffle(scores, 8)[:, 0], F.normalize(self.words(x), dim=1)

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
        return *self.one(first), *self.one(second)


class _Inverted(nn.Module):
    def __init__(self, before: int, after: int, stride: int, expand: int) -> None:
        super().__init__()
        inner = before * expand
        self.keeps = stride == 1 and before == after
        self.body = nn.Sequential(
            nn.Conv2d(before, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.PReLU(inner),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.PReLU(inner),
            nn.Conv2d(inner, after, 1, bias=False),
            nn.BatchNorm2d(after),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.keeps else self.body(x)


class Bottlenecks(nn.Module):
    """MobileFaceNet (Chen et al. 2018): 128 numbers for a face, of two faces and their mirror images."""

    def __init__(self) -> None:
        super().__init__()

        def conv(a: int, b: int, k: int, stride: int, groups: int, act: bool = True) -> nn.Sequential:
            pad = 1 if k == 3 else 0
            parts = [nn.Conv2d(a, b, k, stride, pad, groups=groups, bias=False), nn.BatchNorm2d(b)]
            return nn.Sequential(*parts, *([nn.PReLU(b)] if act else []))

        blocks: list[nn.Module] = []
        before = 64
        for expand, width, count, stride in (
            (2, 64, 5, 2),
            (4, 128, 1, 2),
            (2, 128, 6, 1),
            (4, 128, 1, 2),
            (2, 128, 2, 1),
        ):
            for k in range(count):
                blocks.append(_Inverted(before, width, stride if k == 0 else 1, expand))
                before = width
        self.body = nn.Sequential(
            conv(3, 64, 3, 2, 1),
            conv(64, 64, 3, 1, 64),
            *blocks,
            conv(128, 512, 1, 1, 1),
            conv(512, 512, 7, 1, 512, act=False),
            conv(512, 128, 1, 1, 1, act=False),
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        found = self.body(torch.cat([first, first.flip(-1), second, second.flip(-1)])).flatten(1)
        return torch.stack([found[:1] + found[1:2], found[2:3] + found[3:]], 1).reshape(2, -1)


class DeepLabPlus(nn.Module):
    """DeepLabv3+ (Chen et al. 2018) on MobileNetV2 with an output stride of 16, 21 classes."""

    def __init__(self) -> None:
        super().__init__()
        features = vision.mobilenet_v2(weights=None).features
        for layer in features[14:18]:  # what would stride here is dilated
            for module in layer.modules():
                if isinstance(module, nn.Conv2d) and module.groups > 1:
                    module.stride, module.dilation, module.padding = (1, 1), (2, 2), (2, 2)
        self.low, self.high = features[:4], features[4:18]

        def conv(a: int, b: int, k: int, dilation: int = 1) -> nn.Sequential:
            pad = dilation if k == 3 else 0
            return nn.Sequential(nn.Conv2d(a, b, k, 1, pad, dilation, bias=False), nn.BatchNorm2d(b), nn.ReLU())

        self.branches = nn.ModuleList([conv(320, 256, 1), *[conv(320, 256, 3, rate) for rate in (6, 12, 18)]])
        self.whole, self.join, self.skip = conv(320, 256, 1), conv(1280, 256, 1), conv(24, 48, 1)
        self.last = nn.Sequential(conv(304, 256, 3), conv(256, 256, 3), nn.Conv2d(256, 21, 1))

    def forward(self, image: Tensor) -> Tensor:
        low = self.low(image)
        x = self.high(low)
        whole = F.interpolate(
            self.whole(x.mean((2, 3), keepdim=True)), x.shape[2:], mode="bilinear", align_corners=True
        )
        x = self.join(torch.cat([*[branch(x) for branch in self.branches], whole], 1))
        x = F.interpolate(x, low.shape[2:], mode="bilinear", align_corners=True)
        x = self.last(torch.cat([x, self.skip(low)], 1))
        return F.interpolate(x, image.shape[2:], mode="bilinear", align_corners=True)


def _dark(a: int, b: int, k: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, k, stride, k // 2, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.1))


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_dark(width, width // 2, 1), _dark(width // 2, width, 3))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class DarkNet(nn.Module):
    """YOLOv3 (Redmon and Farhadi 2018): Darknet-53, three scales, boxes decoded on a grid."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = _dark(3, 32, 3)
        counts = ((32, 1), (64, 2), (128, 8), (256, 8), (512, 4))
        self.stages = nn.ModuleList(
            [nn.Sequential(_dark(w, 2 * w, 3, 2), *[_Residual(2 * w) for _ in range(n)]) for w, n in counts]
        )
        self.necks = nn.ModuleList([self._neck(1024, 512), self._neck(768, 256), self._neck(384, 128)])
        self.heads = nn.ModuleList(
            [nn.Sequential(_dark(w, 2 * w, 3), nn.Conv2d(2 * w, 255, 1)) for w in (512, 256, 128)]
        )
        self.ups = nn.ModuleList([_dark(512, 256, 1), _dark(256, 128, 1)])

    @staticmethod
    def _neck(before: int, width: int) -> nn.Sequential:
        pairs = [
            (before, width, 1),
            (width, 2 * width, 3),
            (2 * width, width, 1),
            (width, 2 * width, 3),
            (2 * width, width, 1),
        ]
        return nn.Sequential(*[_dark(a, b, k) for a, b, k in pairs])

    def forward(self, image: Tensor) -> Tensor:
        x = self.enter(image)
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        boxes = []
        x = found[-1]
        for level, (neck, head) in enumerate(zip(self.necks, self.heads, strict=True)):
            x = neck(x)
            y = head(x)
            size, stride = y.shape[-1], image.shape[-1] // y.shape[-1]
            y = y.view(1, 3, 85, size, size).permute(0, 1, 3, 4, 2).sigmoid()
            rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
            grid = torch.stack([columns, rows], 2).view(1, 1, size, size, 2).float()
            y = torch.cat([(y[..., :2] + grid) * stride, y[..., 2:4] * stride, y[..., 4:]], -1)
            boxes.append(y.reshape(1, -1, 85))
            if level < 2:
                x = torch.cat([F.interpolate(self.ups[level](x), scale_factor=2), found[-2 - level]], 1)
        return torch.cat(boxes, 1)


class _Levels(nn.Module):
    """U²-Net's block: a small U-Net within, `levels` deep, of dilated convolutions where it is flat."""

    def __init__(self, before: int, inner: int, after: int, levels: int, flat: bool = False) -> None:
        super().__init__()
        self.flat = flat
        self.enter = self._conv(before, after)
        self.down = nn.ModuleList(
            [self._conv(after if k == 0 else inner, inner, self._rate(k)) for k in range(levels - 1)]
        )
        self.deep = self._conv(inner, inner, 2 ** (levels - 1) if flat else 2)
        up = [self._conv(2 * inner, inner, self._rate(k)) for k in range(levels - 2, 0, -1)]
        self.up = nn.ModuleList([*up, self._conv(2 * inner, after)])

    def _rate(self, level: int) -> int:
        return 2**level if self.flat else 1

    @staticmethod
    def _conv(before: int, after: int, rate: int = 1) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(before, after, 3, 1, rate, rate), nn.BatchNorm2d(after), nn.ReLU())

    def forward(self, image: Tensor) -> Tensor:
        whole = x = self.enter(image)
        found = []
        for level, conv in enumerate(self.down):
            x = conv(x)
            found.append(x)
            if not self.flat and level < len(self.down) - 1:
                x = F.max_pool2d(x, 2, ceil_mode=True)
        x = self.deep(x)
        for conv in self.up:
            skip = found.pop()
            if x.shape[2:] != skip.shape[2:]:
                x = F.interpolate(x, skip.shape[2:], mode="bilinear", align_corners=False)
            x = conv(torch.cat([x, skip], 1))
        return x + whole


class Salient(nn.Module):
    """U²-Net (Qin et al. 2020), full size: a U-Net of U-Nets, six maps and one of all."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            [
                _Levels(3, 32, 64, 7),
                _Levels(64, 32, 128, 6),
                _Levels(128, 64, 256, 5),
                _Levels(256, 128, 512, 4),
                _Levels(512, 256, 512, 4, flat=True),
                _Levels(512, 256, 512, 4, flat=True),
            ]
        )
        self.up = nn.ModuleList(
            [
                _Levels(1024, 256, 512, 4, flat=True),
                _Levels(1024, 128, 256, 4),
                _Levels(512, 64, 128, 5),
                _Levels(256, 32, 64, 6),
                _Levels(128, 16, 64, 7),
            ]
        )
        self.sides = nn.ModuleList([nn.Conv2d(width, 1, 3, padding=1) for width in (512, 512, 256, 128, 64, 64)])
        self.all = nn.Conv2d(6, 1, 1)

    def forward(self, image: Tensor) -> list[Tensor]:
        x, found = image, []
        for level, block in enumerate(self.down):
            x = block(x)
            found.append(x)
            x = F.max_pool2d(x, 2, ceil_mode=True) if level < 5 else x
        maps = [found.pop()]
        for block in self.up:
            skip = found.pop()
            x = F.interpolate(x, skip.shape[2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skip], 1))
            maps.append(x)
        maps = [side(x) for side, x in zip(self.sides, maps, strict=True)]
        maps = [F.interpolate(x, image.shape[2:], mode="bilinear", align_corners=False) for x in maps]
        return [torch.sigmoid(x) for x in (self.all(torch.cat(maps, 1)), *maps)]


def _normed(before: int, after: int, k: int, stride: int = 1, act: bool = True) -> nn.Sequential:
    parts: list[nn.Module] = [nn.Conv2d(before, after, k, stride, k // 2, bias=False), nn.BatchNorm2d(after)]
    return nn.Sequential(*parts, *([nn.ReLU()] if act else []))


class _Scales(nn.Module):
    """OSNet's block: streams of one to four light convolutions, joined by one gate for all."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        inner = after // 4
        self.enter, self.leave = _normed(before, inner, 1), _normed(inner, after, 1, act=False)
        light = [
            nn.Sequential(
                nn.Conv2d(inner, inner, 1, bias=False),
                nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False),
                nn.BatchNorm2d(inner),
                nn.ReLU(),
            )
            for _ in range(10)
        ]
        self.streams = nn.ModuleList([nn.Sequential(*light[k * (k - 1) // 2 : k * (k + 1) // 2]) for k in range(1, 5)])
        self.gate = nn.Sequential(
            nn.Conv2d(inner, inner // 16, 1), nn.ReLU(), nn.Conv2d(inner // 16, inner, 1), nn.Sigmoid()
        )
        self.down = _normed(before, after, 1, act=False) if before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.enter(x)
        found = [stream(y) for stream in self.streams]
        y = sum(z * self.gate(z.mean((2, 3), keepdim=True)) for z in found)
        return F.relu(self.leave(y) + self.down(x))


class SamePerson(nn.Module):
    """OSNet (Zhou et al. 2019): 512 numbers for a person."""

    def __init__(self) -> None:
        super().__init__()
        pooled = [nn.Sequential(_normed(w, w, 1), nn.AvgPool2d(2, 2)) for w in (256, 384)]
        self.body = nn.Sequential(
            _normed(3, 64, 7, 2),
            nn.MaxPool2d(3, 2, 1),
            _Scales(64, 256),
            _Scales(256, 256),
            pooled[0],
            _Scales(256, 384),
            _Scales(384, 384),
            pooled[1],
            _Scales(384, 512),
            _Scales(512, 512),
            _normed(512, 512, 1),
        )
        self.head = nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)))


class HighResolution(nn.Module):
    """HRNet for poses (Sun et al. 2019): timm's stages, and 17 maps from the finest."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network, self.head = network, nn.Conv2d(32, 17, 1)

    def forward(self, x: Tensor) -> Tensor:
        n = self.network
        x = n.act2(n.bn2(n.conv2(n.act1(n.bn1(n.conv1(x))))))
        return self.head(n.stages(x)[0])
