"""MLP-Mixer, whose size is a setting (Tolstikhin et al. 2021, arXiv:2105.01601)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from optbench.core.losses import CROSS_ENTROPY
from optbench.core.problem import Problem, Splits
from optbench.problems.precision import PRECISIONS, in_precision
from optbench.problems.shared import stated
from optbench.problems.standard_data import CLASSES, SHAPES, images


class Layer(nn.Module):
    """(N, patches, width): a network over patches, then one over channels, each added to what came in."""

    def __init__(self, patches: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.over_patches = _two(patches, 2 * patches)
        self.over_channels = _two(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.over_patches(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        out: Tensor = x + self.over_channels(self.norm2(x))
        return out


class Mixer(nn.Module):
    """(N, C, H, W) -> (N, classes)."""

    def __init__(self, channels: int, side: int, patch: int, width: int, depth: int, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.layers = nn.Sequential(*(Layer((side // patch) ** 2, width) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(self.patches(x).flatten(2).transpose(1, 2))
        scores: Tensor = self.head(self.norm(x).mean(1))
        return scores


@dataclass(frozen=True)
class MlpMixer(Problem):
    """MLP-Mixer on pictures, cross-entropy; [width=64,depth=4] has 174 thousand parameters, [320,12] 10 million."""

    width: int = 64
    depth: int = 4
    patch: int = 4  # pixels a side of a patch
    data_set: str = "fashion"  # the subset in the package; or mnist, fmnist, cifar10, cifar100, svhn
    precision: str = "single"  # or mixed: bfloat16 where autocast has it

    track = "supervised"
    dtype = torch.float32
    objective_loss = CROSS_ENTROPY
    passes = 30.0
    batch = 128
    bound = 0.0

    def __post_init__(self) -> None:
        stated("mlp_mixer: data_set", self.data_set, CLASSES)
        stated("mlp_mixer: precision", self.precision, PRECISIONS)
        side = SHAPES[self.data_set][1]
        if min(self.width, self.depth, self.patch) < 1 or side % self.patch:
            raise ValueError(f"mlp_mixer: patch {self.patch} must divide {side}, width and depth be at least 1")

    def network(self) -> nn.Module:
        channels, side = SHAPES[self.data_set]
        net = Mixer(channels, side, self.patch, self.width, self.depth, CLASSES[self.data_set])
        return in_precision(net, self.precision)

    def data(self) -> Splits:
        return images(self.data_set)


def _two(size: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, hidden), nn.GELU(), nn.Linear(hidden, size))
