"""Small PyTorch networks of every common kind, for the corpus, the comparison of costs, and the tests.

NETWORKS maps a name to a function that gives a module and its example inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Example = tuple[nn.Module, tuple[Tensor, ...]]


class Residual(nn.Module):
    """A ResNet in small: stem, a block with and one without projection, classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        self.body = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)
        )
        self.down = nn.Conv2d(8, 16, 1, 2)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.down(torch.relu(x + self.body(x)))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Mobile(nn.Module):
    """Depthwise convolutions, squeeze and excitation, hard swish."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(3, 16, 1), nn.BatchNorm2d(16), nn.Hardswish())
        self.depthwise = nn.Sequential(nn.Conv2d(16, 16, 5, 2, 2, groups=16), nn.BatchNorm2d(16), nn.ReLU6())
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 4, 1), nn.ReLU(), nn.Conv2d(4, 16, 1), nn.Hardsigmoid()
        )
        self.project = nn.Conv2d(16, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(self.expand(x))
        return self.project(x * self.squeeze(x))


class VisionTransformer(nn.Module):
    """Patches, a class token, positions, and PyTorch's own encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 8, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, 24))
        self.positions = nn.Parameter(torch.zeros(1, 17, 24))
        layer = nn.TransformerEncoderLayer(24, 4, 48, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        return self.head(self.encoder(x)[:, 0])


class Attention(nn.Module):
    """Causal self-attention by scaled_dot_product_attention, as language models write it."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(32, 96), nn.Linear(32, 32)

    def forward(self, x: Tensor) -> Tensor:
        n, s, _ = x.shape
        q, k, v = self.qkv(x).view(n, s, 3, 4, 8).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(x.transpose(1, 2).reshape(n, s, 32))


class SequenceFirst(nn.Module):
    """nn.MultiheadAttention with the sequence in front, as it was at first."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(0, 1)
        return self.attention(x, x, x, need_weights=False)[0].transpose(0, 1)


class LanguageModel(nn.Module):
    """Embedding, one decoder block, logits with the embedding's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 32)
        self.norm, self.attention = nn.LayerNorm(32), Attention()
        self.feed_forward = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        x = x + self.attention(self.norm(x))
        return (x + self.feed_forward(x)) @ self.embedding.weight.T


class EncoderDecoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.transformer = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.transformer(source, target)


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.rnn = kind(12, 10, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


class UNet(nn.Module):
    """Down by stride, up by a transposed convolution and by interpolation, joined by skips."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.down = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, 2, 1)
        self.deep, self.up = nn.Conv2d(16, 32, 3, 2, 1), nn.ConvTranspose2d(32, 16, 2, 2)
        self.leave = nn.Conv2d(40, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = torch.relu(self.enter(x))
        second = torch.relu(self.down(first))
        x = torch.cat([self.up(torch.relu(self.deep(second))), second], 1)
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.leave(torch.cat([x, first], 1))


class Detector(nn.Module):
    """Two levels, a head on each, boxes decoded on a grid, the best of them kept."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList([nn.Conv2d(3, 8, 3, 4, 1), nn.Conv2d(8, 8, 3, 2, 1)])
        self.head = nn.Conv2d(8, 3 * 9, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = []
        for level in self.levels:
            x = F.silu(level(x))
            y = self.head(x)
            n, _, h, w = y.shape
            y = y.view(n, 3, 9, h, w).permute(0, 1, 3, 4, 2).sigmoid()
            rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            grid = torch.stack([columns, rows], 2).view(1, 1, h, w, 2).float()
            y = torch.cat([y[..., :2] * 2 + grid, (y[..., 2:4] * 2) ** 2, y[..., 4:]], -1)
            found.append(y.reshape(n, -1, 9))
        boxes = torch.cat(found, 1)
        scores, best = (boxes[..., 4:5] * boxes[..., 5:]).amax(-1).topk(5, 1)
        return scores, boxes.gather(1, best[..., None].expand(-1, -1, 9))


class Volume(nn.Module):
    """Convolutions of rank 3, grouped, dilated and transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (
            nn.Conv3d(2, 8, 3, padding=1),
            nn.Conv3d(8, 8, (1, 3, 3), dilation=(1, 2, 2), groups=4),
        )
        self.back = nn.ConvTranspose3d(8, 4, 2, 2, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.back(F.max_pool3d(torch.relu(self.second(torch.relu(self.first(x)))), 2))


class Signal(nn.Module):
    """Convolutions of rank 1, padded by reflection, pooled with a rounded-up end, transposed back."""

    def __init__(self) -> None:
        super().__init__()
        self.pad, self.conv = nn.ReflectionPad1d(2), nn.Conv1d(2, 6, 5, stride=2)
        self.pool, self.back = nn.MaxPool1d(3, 2, ceil_mode=True), nn.ConvTranspose1d(6, 2, 4, 2, 1, output_padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.back(self.pool(F.leaky_relu(self.conv(self.pad(x)))))


class Normalised(nn.Module):
    """One of each normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.Sequential(
            nn.GroupNorm(2, 8),
            nn.InstanceNorm2d(8, affine=True),
            nn.LocalResponseNorm(3),
            nn.BatchNorm2d(8),
            nn.Softmax2d(),
        )
        self.last = nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.last(self.norms(x).flatten(2).transpose(1, 2)), dim=-1)


class Windows(nn.Module):
    """Attention within shifted windows: roll, view, permute, einsum."""

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        x = torch.roll(x, (2, 2), (2, 3))
        x = x.view(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
        x = torch.einsum("nij,njc->nic", torch.einsum("nic,njc->nij", x, x).softmax(-1), x)
        x = x.view(n, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)
        return torch.roll(x, (-2, -2), (2, 3))


class SuperResolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2).clamp(0, 1)


def _image(size: int = 32, channels: int = 3) -> tuple[Tensor, ...]:
    return (torch.zeros(1, channels, size, size),)


def _sequence(*shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.zeros(shape) for shape in shapes)


NETWORKS: Mapping[str, Callable[[], Example]] = {
    "residual": lambda: (Residual(), _image()),
    "mobile": lambda: (Mobile(), _image()),
    "vision transformer": lambda: (VisionTransformer(), _image()),
    "attention": lambda: (Attention(), _sequence((1, 7, 32))),
    "sequence first": lambda: (SequenceFirst(), _sequence((1, 7, 24))),
    "language model": lambda: (LanguageModel(), (torch.zeros(1, 7, dtype=torch.int64),)),
    "encoder-decoder": lambda: (EncoderDecoder(), _sequence((1, 6, 16), (1, 5, 16))),
    "lstm": lambda: (Recurrent(nn.LSTM), _sequence((1, 9, 12))),
    "gru": lambda: (Recurrent(nn.GRU), _sequence((1, 9, 12))),
    "u-net": lambda: (UNet(), _image()),
    "detector": lambda: (Detector(), _image(64)),
    "volume": lambda: (Volume(), _sequence((1, 2, 8, 12, 12))),
    "signal": lambda: (Signal(), _sequence((1, 2, 40))),
    "normalised": lambda: (Normalised(), _image(8, 8)),
    "windows": lambda: (Windows(), _image(8, 6)),
    "super-resolution": lambda: (SuperResolution(), _image()),
}


def example(name: str) -> Example:
    """The network of this name, with weights from a fixed seed, no two alike, ready for inference."""
    torch.manual_seed(0)
    module, inputs = NETWORKS[name]()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) / 8)
    return module.eval(), inputs
