"""Two networks of newer kinds in small, for exported_networks.py: RWKV, a recurrent language model, and a step of
diffusion."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TimeMixing(nn.Module):
    """RWKV-4's: each word adds to sums that decay, channel by channel. Bo Peng et al., https://arxiv.org/abs/2305.13048."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.key, self.value, self.gate, self.out = (nn.Linear(channels, channels, bias=False) for _ in range(4))
        self.mix = nn.Parameter(torch.rand(3, channels))
        self.decay, self.first = nn.Parameter(torch.rand(channels)), nn.Parameter(torch.rand(channels))

    def forward(self, x: Tensor) -> Tensor:
        before = F.pad(x, (0, 0, 1, -1))
        key, value, gate = (
            layer(x * mix + before * (1 - mix))
            for layer, mix in zip((self.key, self.value, self.gate), self.mix, strict=True)
        )
        decay, outputs = torch.exp(-torch.exp(self.decay)), []
        weighted, weights = torch.exp(key[:, 0]) * value[:, 0], torch.exp(key[:, 0])
        outputs.append(value[:, 0])
        for k in range(1, x.shape[1]):
            now, here = torch.exp(self.first + key[:, k]), torch.exp(key[:, k])
            outputs.append((weighted + now * value[:, k]) / (weights + now))
            weighted, weights = decay * weighted + here * value[:, k], decay * weights + here
        return self.out(torch.sigmoid(gate) * torch.stack(outputs, 1))


class ChannelMixing(nn.Module):
    """Squared rectifiers between two layers, behind a gate."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up, self.down = (
            nn.Linear(channels, 4 * channels, bias=False),
            nn.Linear(4 * channels, channels, bias=False),
        )
        self.gate, self.mix = nn.Linear(channels, channels, bias=False), nn.Parameter(torch.rand(2, channels))

    def forward(self, x: Tensor) -> Tensor:
        before = F.pad(x, (0, 0, 1, -1))
        wide, gate = (x * mix + before * (1 - mix) for mix in self.mix)
        return torch.sigmoid(self.gate(gate)) * self.down(torch.square(torch.relu(self.up(wide))))


class Rwkv(nn.Module):
    def __init__(self, words: int = 50, channels: int = 24) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(words, channels), nn.Linear(channels, words, bias=False)
        self.norms = nn.ModuleList([nn.LayerNorm(channels) for _ in range(4)])
        self.mixers = nn.ModuleList(
            [TimeMixing(channels), ChannelMixing(channels), TimeMixing(channels), ChannelMixing(channels)]
        )

    def forward(self, words: Tensor) -> Tensor:
        x = self.embed(words)
        for norm, mixer in zip(self.norms, self.mixers, strict=True):
            x = x + mixer(norm(x))
        return self.head(x)


class TimedResidual(nn.Module):
    """Two convolutions behind group normalisations; the time is added to every place between them."""

    def __init__(self, channels: int, out: int, time: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(4, channels), nn.Conv2d(channels, out, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(4, out), nn.Conv2d(out, out, 3, padding=1)
        self.time = nn.Linear(time, out)
        self.skip = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x))) + self.time(F.silu(time))[:, :, None, None]
        return self.skip(x) + self.conv2(F.silu(self.norm2(y)))


class CrossAttention(nn.Module):
    def __init__(self, channels: int, words: int, heads: int = 2) -> None:
        super().__init__()
        self.heads, self.query = heads, nn.Linear(channels, channels, bias=False)
        self.key, self.value = nn.Linear(words, channels, bias=False), nn.Linear(words, channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        def parted(data: Tensor) -> Tensor:
            return data.reshape(*data.shape[:2], self.heads, -1).transpose(1, 2)

        query, key, value = parted(self.query(x)), parted(self.key(y)), parted(self.value(y))
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        return self.out((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))


class SpatialTransformer(nn.Module):
    """Places read each other, then words, then pass a gated layer."""

    def __init__(self, channels: int, words: int) -> None:
        super().__init__()
        self.norm, self.into, self.back = (
            nn.GroupNorm(4, channels),
            nn.Conv2d(channels, channels, 1),
            nn.Conv2d(channels, channels, 1),
        )
        self.norms = nn.ModuleList([nn.LayerNorm(channels) for _ in range(3)])
        self.own, self.cross = CrossAttention(channels, channels), CrossAttention(channels, words)
        self.up, self.down = nn.Linear(channels, 6 * channels), nn.Linear(3 * channels, channels)

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        y = self.into(self.norm(x)).flatten(2).transpose(1, 2)
        alike = self.norms[0](y)
        y = y + self.own(alike, alike)
        y = y + self.cross(self.norms[1](y), words)
        data, gate = self.up(self.norms[2](y)).chunk(2, -1)
        y = y + self.down(data * F.gelu(gate))
        return x + self.back(y.transpose(1, 2).reshape(x.shape))


class DiffusionStep(nn.Module):
    """A U-Net of latent diffusion with one level: an image, how far it is, and words. https://arxiv.org/abs/2112.10752."""

    def __init__(self, channels: int = 16, words: int = 20) -> None:
        super().__init__()
        time = 3 * channels
        self.time = nn.Sequential(nn.Linear(channels, time), nn.SiLU(), nn.Linear(time, time))
        self.into, self.down = nn.Conv2d(4, channels, 3, padding=1), nn.Conv2d(channels, channels, 3, 2, 1)
        self.blocks = nn.ModuleList(
            [
                TimedResidual(channels, channels, time),
                TimedResidual(channels, 2 * channels, time),
                TimedResidual(3 * channels, channels, time),
            ]
        )
        self.attentions = nn.ModuleList([SpatialTransformer(channels, words), SpatialTransformer(2 * channels, words)])
        self.up, self.norm = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1), nn.GroupNorm(4, channels)
        self.out = nn.Conv2d(channels, 4, 3, padding=1)

    def forward(self, image: Tensor, step: Tensor, words: Tensor) -> Tensor:
        half = self.into.out_channels // 2
        angles = (
            step[:, None].float() * torch.exp(-math.log(10_000) / half * torch.arange(half, dtype=torch.float32))[None]
        )
        time = self.time(torch.cat([angles.cos(), angles.sin()], -1))
        fine = self.attentions[0](self.blocks[0](self.into(image), time), words)
        coarse = self.attentions[1](self.blocks[1](self.down(fine), time), words)
        coarse = self.up(F.interpolate(coarse, scale_factor=2.0, mode="nearest"))
        return self.out(F.silu(self.norm(self.blocks[2](torch.cat([coarse, fine], 1), time))))


def rwkv() -> tuple[nn.Module, tuple[Tensor, ...]]:
    return Rwkv(), (torch.arange(6)[None],)


def diffusion() -> tuple[nn.Module, tuple[Tensor, ...]]:
    return DiffusionStep(), (torch.randn(1, 4, 12, 12), torch.tensor([7]), torch.randn(1, 5, 20))
