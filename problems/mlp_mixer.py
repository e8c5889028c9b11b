"""MLP-Mixer, whose size is a setting (Tolstikhin et al. 2021, arXiv:2105.01601)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from optbench.problems.precision import in_precision
from optbench.problems.standard_data import AnySize


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
class MlpMixer(AnySize):
    """MLP-Mixer on pictures, cross-entropy; [width=64,depth=4] has 174 thousand parameters, [320,12] 10 million."""

    width: int = 64
    depth: int = 4
    patch: int = 4  # pixels a side of a patch

    name = "mlp_mixer"

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.width, self.depth, self.patch) < 1 or self.side % self.patch:
            raise ValueError(f"mlp_mixer: patch {self.patch} must divide {self.side}, width and depth be at least 1")

    def network(self) -> nn.Module:
        net = Mixer(self.channels, self.side, self.patch, self.width, self.depth, self.classes)
        return in_precision(net, self.precision)


def _two(size: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, hidden), nn.GELU(), nn.Linear(hidden, size))
