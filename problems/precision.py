"""Mixed precision as a setting: the network's products in bfloat16, its parameters and loss in float32."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PRECISIONS = ("single", "mixed")


class Mixed(nn.Module):
    """A network under autocast; its outputs are float32 again. CPUs and GPUs have bfloat16, and no loss is scaled."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            out: Tensor = self.body(x)
        return out.float()


def in_precision(net: nn.Module, precision: str) -> nn.Module:
    """The network as it is for "single", under autocast for "mixed"."""
    return Mixed(net) if precision == "mixed" else net
