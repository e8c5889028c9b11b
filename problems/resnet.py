"""A residual network whose size is a setting: WRN-depth-widening (Zagoruyko & Komodakis 2016, arXiv:1605.07146)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from optbench.problems.deepobs_networks import wide_residual
from optbench.problems.precision import in_precision
from optbench.problems.standard_data import AnySize


@dataclass(frozen=True)
class ResNet(AnySize):
    """Wide-ResNet on pictures, cross-entropy; [depth=10,widening=1] has 78 thousand parameters, [16,8] 11 million."""

    depth: int = 10  # 6 n + 4
    widening: int = 1

    name = "resnet"

    def __post_init__(self) -> None:
        if self.depth < 10 or (self.depth - 4) % 6 or self.widening < 1:
            raise ValueError(f"resnet: depth {self.depth} must be 10, 16, 22, ...; widening {self.widening} at least 1")
        super().__post_init__()

    def network(self) -> nn.Module:
        net = wide_residual(self.depth, self.widening, self.classes, self.channels, penalised=False)
        return in_precision(net, self.precision)
