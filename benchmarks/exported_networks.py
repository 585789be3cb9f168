"""Networks of fourteen common kinds in small, written as their authors write them, to be exported in every form.

NETWORKS maps a name to a function that gives a module and its example inputs. No two sizes that could be confused
(heads, channels, positions) are equal, so that a form read with the wrong axis shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from exported_blocks import diffusion, rwkv
from torch import Tensor, nn
from torch.nn import functional as F
from torch_networks import Detector, Example, Recurrent, UNet


class Bottleneck(nn.Module):
    def __init__(self, channels: int, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)
        self.down: nn.Module = nn.Identity()
        if stride > 1 or channels != out:
            self.down = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(y)) + self.down(x))


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        )
        self.blocks = nn.Sequential(Bottleneck(16, 8, 32, 1), Bottleneck(32, 8, 32, 1), Bottleneck(32, 16, 64, 2))
        self.pool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.pool(self.blocks(self.stem(x))), 1))


class DenseNet(nn.Module):
    """Blocks whose layers read all before them, normalised before they are convolved."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        self.first = nn.ModuleList([self.layer(16 + 8 * k) for k in range(3)])
        self.between = nn.Sequential(
            nn.BatchNorm2d(40), nn.ReLU(), nn.Conv2d(40, 20, 1, bias=False), nn.AvgPool2d(2, 2)
        )
        self.second = nn.ModuleList([self.layer(20 + 8 * k) for k in range(2)])
        self.norm, self.head = nn.BatchNorm2d(36), nn.Linear(36, 10)

    @staticmethod
    def layer(channels: int) -> nn.Module:
        return nn.Sequential(
            *(nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 32, 1, bias=False)),
            *(nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 8, 3, padding=1, bias=False)),
        )

    def forward(self, x: Tensor) -> Tensor:
        found = [self.stem(x)]
        for layer in self.first:
            found.append(layer(torch.cat(found, 1)))
        found = [self.between(torch.cat(found, 1))]
        for layer in self.second:
            found.append(layer(torch.cat(found, 1)))
        x = F.relu(self.norm(torch.cat(found, 1)), inplace=True)
        return self.head(torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


class SqueezeExcite(nn.Module):
    """kind: "convolutions" (torchvision), "linear" (SENet: views around two linear layers), "mean" (timm)."""

    def __init__(self, channels: int, width: int, act: nn.Module, gate: nn.Module, kind: str = "convolutions") -> None:
        super().__init__()
        self.kind, self.act, self.gate = kind, act, gate
        if kind == "linear":
            self.reduce, self.expand = nn.Linear(channels, width), nn.Linear(width, channels)
        else:
            self.reduce, self.expand = nn.Conv2d(channels, width, 1), nn.Conv2d(width, channels, 1)  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        y = x.mean((2, 3), keepdim=True) if self.kind == "mean" else F.adaptive_avg_pool2d(x, 1)
        y = y.flatten(1) if self.kind == "linear" else y
        y = self.gate(self.expand(self.act(self.reduce(y))))
        return x * (y.view(x.shape[0], x.shape[1], 1, 1) if self.kind == "linear" else y)


class InvertedResidual(nn.Module):
    """MobileNetV3's and EfficientNet's block."""

    def __init__(self, channels: int, width: int, kernel: int, act: type[nn.Module], excite: nn.Module | None) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), act())
        self.depthwise = nn.Sequential(
            nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width, bias=False), nn.BatchNorm2d(width), act()
        )
        self.excite = excite or nn.Identity()
        self.project = nn.Sequential(nn.Conv2d(width, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.project(self.excite(self.depthwise(self.expand(x))))


class MobileNet(nn.Module):
    def __init__(self, kind: str = "convolutions") -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish())
        self.blocks = nn.Sequential(
            InvertedResidual(16, 24, 3, nn.ReLU, SqueezeExcite(24, 8, nn.ReLU(), nn.Hardsigmoid(), kind)),
            InvertedResidual(16, 40, 5, nn.Hardswish, None),
            InvertedResidual(16, 40, 5, nn.ReLU6, None),
        )
        self.head = nn.Sequential(nn.Linear(16, 48), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(48, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(F.adaptive_avg_pool2d(self.blocks(self.stem(x)), 1), 1))


class EfficientNet(nn.Module):
    def __init__(self, kind: str = "mean") -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.SiLU())
        self.blocks = nn.Sequential(
            InvertedResidual(16, 24, 3, nn.SiLU, SqueezeExcite(24, 4, nn.SiLU(), nn.Sigmoid(), kind)),
            InvertedResidual(16, 40, 5, nn.SiLU, SqueezeExcite(40, 4, nn.SiLU(), nn.Sigmoid(), kind)),
        )
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class LayerNormFirst(nn.LayerNorm):
    """Over channels that come first, by permuting (torchvision) or spelt out (the authors)."""

    def __init__(self, channels: int, spelt: bool = False) -> None:
        super().__init__(channels, eps=1e-6)
        self.spelt = spelt

    def forward(self, x: Tensor) -> Tensor:
        if self.spelt:
            mean = x.mean(1, keepdim=True)
            x = (x - mean) / torch.sqrt((x - mean).pow(2).mean(1, keepdim=True) + self.eps)
            return self.weight[:, None, None] * x + self.bias[:, None, None]
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(channels, channels, 7, padding=3, groups=channels), nn.LayerNorm(channels)
        self.grow, self.shrink = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + self.scale * self.shrink(F.gelu(self.grow(y))).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(self, spelt: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 4, 4), LayerNormFirst(16, spelt))
        self.body = nn.Sequential(
            ConvNeXtBlock(16), LayerNormFirst(16, spelt), nn.Conv2d(16, 24, 2, 2), ConvNeXtBlock(24)
        )
        self.head = nn.Sequential(LayerNormFirst(24, spelt), nn.Flatten(1), nn.Linear(24, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.adaptive_avg_pool2d(self.body(self.stem(x)), 1))


class VitBlock(nn.Module):
    """timm's block: queries, keys and values from one linear layer."""

    def __init__(self, width: int, heads: int, fused: bool) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def attention(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        qkv = self.qkv(x).reshape(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        if self.fused:
            x = F.scaled_dot_product_attention(q, k, v)
        else:
            x = ((q * (width // self.heads) ** -0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.proj(x.transpose(1, 2).reshape(n, length, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Vit(nn.Module):
    def __init__(self, fused: bool = True) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 8, 8)
        self.token, self.positions = nn.Parameter(torch.zeros(1, 1, 24)), nn.Parameter(torch.zeros(1, 17, 24))
        self.blocks = nn.Sequential(VitBlock(24, 3, fused), VitBlock(24, 3, fused))
        self.norm, self.head = nn.LayerNorm(24, eps=1e-6), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])


class SwinBlock(nn.Module):
    """Attention in windows, shifted or not, with relative positions, and a mask between what shifting joined."""

    def __init__(self, width: int, heads: int, size: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        place = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        apart = (place[:, :, None] - place[:, None, :]).permute(1, 2, 0) + window - 1
        self.register_buffer("index", (apart[..., 0] * (2 * window - 1) + apart[..., 1]).flatten())
        parts = torch.zeros(size, size)
        for k, rows in enumerate((slice(0, -window), slice(-window, -shift), slice(-shift, None)) if shift else ()):
            for m, columns in enumerate((slice(0, -window), slice(-window, -shift), slice(-shift, None))):
                parts[rows, columns] = 3 * k + m
        windows = parts.view(size // window, window, size // window, window).transpose(1, 2).reshape(-1, window**2)
        mask = windows[:, None, :] - windows[:, :, None]
        self.register_buffer("mask", mask.masked_fill(mask != 0, -100.0))

    def attention(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        q, k, v = self.qkv(x).reshape(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = (q * (width // self.heads) ** -0.5) @ k.transpose(-2, -1)
        bias = self.table[self.index].view(length, length, -1).permute(2, 0, 1).contiguous()
        scores = scores + bias.unsqueeze(0)
        if self.shift:
            count = self.mask.shape[0]
            scores = scores.view(n // count, count, self.heads, length, length) + self.mask[None, :, None]
            scores = scores.view(-1, self.heads, length, length)
        return self.proj((F.softmax(scores, -1) @ v).transpose(1, 2).reshape(n, length, width))

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        k = self.window
        y = self.norm1(x)
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), (1, 2))
        y = y.view(n, h // k, k, w // k, k, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, k * k, c)
        y = self.attention(y).view(n, h // k, w // k, k, k, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)
        if self.shift:
            y = torch.roll(y, (self.shift, self.shift), (1, 2))
        x = x + y
        return x + self.mlp(self.norm2(x))


class Swin(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 12, 4, 4), nn.LayerNorm(12)
        self.first = nn.Sequential(SwinBlock(12, 2, 8, 4, 0), SwinBlock(12, 2, 8, 4, 2))
        self.merge_norm, self.merge = nn.LayerNorm(48), nn.Linear(48, 24, bias=False)
        self.second = SwinBlock(24, 3, 4, 4, 0)
        self.last, self.head = nn.LayerNorm(24), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.norm(self.patches(x).permute(0, 2, 3, 1)))
        parts = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
        x = self.second(self.merge(self.merge_norm(torch.cat(parts, -1))))
        return self.head(F.adaptive_avg_pool2d(self.last(x).permute(0, 3, 1, 2), 1).flatten(1))


class BertLayer(nn.Module):
    """Queries, keys and values from three linear layers; normalised after the sum."""

    def __init__(self, width: int, heads: int, fused: bool) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.q, self.k, self.v = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)
        self.out, self.norm1 = nn.Linear(width, width), nn.LayerNorm(width, eps=1e-12)
        self.grow, self.shrink = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        n, length, width = x.shape

        def split(y: Tensor) -> Tensor:
            return y.view(n, length, self.heads, -1).transpose(1, 2)

        q, k, v = split(self.q(x)), split(self.k(x)), split(self.v(x))
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            y = ((q @ k.transpose(-1, -2)) / (width // self.heads) ** 0.5 + mask).softmax(-1) @ v
        x = self.norm1(self.out(y.transpose(1, 2).reshape(n, length, width)) + x)
        return self.norm2(self.shrink(F.gelu(self.grow(x))) + x)


class Bert(nn.Module):
    def __init__(self, fused: bool = False, width: int = 32, layers: int = 2, heads: int = 4, words: int = 50) -> None:
        super().__init__()
        self.words, self.places, self.kinds = (nn.Embedding(count, width) for count in (words, 16, 2))
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList([BertLayer(width, heads, fused) for _ in range(layers)])
        self.pool = nn.Linear(width, width)

    def forward(self, ids: Tensor, attended: Tensor, kinds: Tensor) -> Tensor:
        mask = (1.0 - attended[:, None, None, :].to(torch.float32)) * -10000.0
        x = self.norm(self.words(ids) + self.kinds(kinds) + self.places(torch.arange(ids.shape[1])[None]))
        for layer in self.layers:
            x = layer(x, mask)
        return torch.tanh(self.pool(x[:, 0]))


class RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.float32)
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


class DecoderLayer(nn.Module):
    """A Llama's layer: rotary positions, grouped heads, a cache of keys and values, gated feed-forward."""

    def __init__(self, width: int, heads: int, groups: int, fused: bool) -> None:
        super().__init__()
        self.heads, self.groups, self.head, self.fused = heads, groups, width // heads, fused
        self.norm1, self.norm2 = RMSNorm(width), RMSNorm(width)
        self.q, self.out = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.k, self.v = (nn.Linear(width, groups * self.head, bias=False) for _ in range(2))
        self.gate, self.up, self.down = (
            nn.Linear(a, b, bias=False) for a, b in ((width, 3 * width), (width, 3 * width), (3 * width, width))
        )

    def attention(self, x: Tensor, past: tuple[Tensor, Tensor], cos: Tensor, sin: Tensor, mask: Tensor) -> list[Tensor]:
        n, length, width = x.shape

        def rotated(y: Tensor) -> Tensor:
            first, second = y[..., : self.head // 2], y[..., self.head // 2 :]
            return y * cos + torch.cat((-second, first), -1) * sin

        q = rotated(self.q(x).view(n, length, self.heads, self.head).transpose(1, 2))
        k = rotated(self.k(x).view(n, length, self.groups, self.head).transpose(1, 2))
        k = torch.cat([past[0], k], 2)
        v = torch.cat([past[1], self.v(x).view(n, length, self.groups, self.head).transpose(1, 2)], 2)
        many = [
            y[:, :, None].expand(-1, -1, self.heads // self.groups, -1, -1).reshape(n, self.heads, -1, self.head)
            for y in (k, v)
        ]
        if self.fused:
            y = F.scaled_dot_product_attention(q, many[0], many[1], attn_mask=mask)
        else:
            scores = q @ many[0].transpose(2, 3) / self.head**0.5 + mask
            y = F.softmax(scores, -1, dtype=torch.float32).to(q.dtype) @ many[1]
        return [self.out(y.transpose(1, 2).reshape(n, length, width)), k, v]

    def forward(
        self, x: Tensor, past: tuple[Tensor, Tensor], cos: Tensor, sin: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        y, k, v = self.attention(self.norm1(x), past, cos, sin, mask)
        x = x + y
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y)), k, v


class Decoder(nn.Module):
    """Given tokens, and what was kept of those before: logits, and what to keep."""

    def __init__(self, fused: bool = False, width: int = 48, layers: int = 2, heads: int = 6, groups: int = 2) -> None:
        super().__init__()
        self.words = nn.Embedding(50, width)
        self.layers = nn.ModuleList([DecoderLayer(width, heads, groups, fused) for _ in range(layers)])
        self.norm, self.head = RMSNorm(width), nn.Linear(width, 50, bias=False)
        size = width // heads
        self.register_buffer("frequencies", 1.0 / (10000.0 ** (torch.arange(0, size, 2) / size)))

    def forward(self, ids: Tensor, places: Tensor, *past: Tensor) -> list[Tensor]:
        x = self.words(ids)
        angles = places[:, :, None].to(torch.float32) * self.frequencies
        angles = torch.cat((angles, angles), -1)[:, None]
        cos, sin = angles.cos(), angles.sin()
        before, length = past[0].shape[2], ids.shape[1]
        allowed = torch.arange(before + length)[None, :] <= torch.arange(before, before + length)[:, None]
        mask = torch.zeros(length, before + length).masked_fill(~allowed, torch.finfo(torch.float32).min)[None, None]
        kept = []
        for k, layer in enumerate(self.layers):
            x, *present = layer(x, (past[2 * k], past[2 * k + 1]), cos, sin, mask)
            kept += present
        return [self.head(self.norm(x)), *kept]


def _image(size: int = 32) -> tuple[Tensor, ...]:
    return (torch.zeros(1, 3, size, size),)


def _bert() -> tuple[Tensor, ...]:
    ids = torch.ones(1, 9, dtype=torch.int64)
    return (ids, ids.clone(), torch.zeros_like(ids))


def _decoder() -> tuple[Tensor, ...]:
    past = [torch.zeros(1, 2, 7, 8) for _ in range(4)]
    return (torch.ones(1, 3, dtype=torch.int64), torch.arange(7, 10)[None], *past)


NETWORKS: Mapping[str, Callable[[], Example]] = {
    "resnet": lambda: (ResNet(), _image(64)),
    "densenet": lambda: (DenseNet(), _image(64)),
    "mobilenet": lambda: (MobileNet(), _image()),
    "efficientnet": lambda: (EfficientNet(), _image()),
    "convnext": lambda: (ConvNeXt(), _image()),
    "vit": lambda: (Vit(), _image()),
    "swin": lambda: (Swin(), _image()),
    "bert": lambda: (Bert(), _bert()),
    "decoder": lambda: (Decoder(), _decoder()),
    "lstm": lambda: (Recurrent(nn.LSTM), (torch.zeros(1, 9, 12),)),
    "u-net": lambda: (UNet(), _image()),
    "detector": lambda: (Detector(), _image(64)),
    "rwkv": rwkv,
    "diffusion": diffusion,
}

# Other spellings of the same: a pair must be one network.
SPELLINGS: Mapping[str, tuple[Callable[[], Example], ...]] = {
    "squeeze and excitation": tuple(
        (lambda kind=kind: (MobileNet(kind), _image())) for kind in ("convolutions", "linear", "mean")
    ),
    "attention of queries, keys and values from one layer": tuple(
        (lambda fused=fused: (Vit(fused), _image())) for fused in (True, False)
    ),
    "attention with a mask": tuple((lambda fused=fused: (Bert(fused), _bert())) for fused in (True, False)),
    "attention with a cache": tuple((lambda fused=fused: (Decoder(fused), _decoder())) for fused in (True, False)),
}


def example(build: Callable[[], Example], trained: bool = True) -> Example:
    """A network with weights from a fixed seed: as initialised, or (trained) no two alike. Ready for inference."""
    torch.manual_seed(0)
    module, inputs = build()
    if trained:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter) / 8)
            for part in module.modules():
                if isinstance(part, nn.BatchNorm2d):
                    assert part.running_mean is not None
                    assert part.running_var is not None
                    part.running_mean.uniform_(-0.1, 0.1)
                    part.running_var.uniform_(0.5, 1.5)
    return module.eval(), inputs
