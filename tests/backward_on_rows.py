"""Networks whose backward pass runs on rows, for the tests of :mod:`partscope.backward.compiled`. Needs Numba."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from networks import seeded
from partscope.backward import Linearised, linearise


def recorded(network: nn.Module, side: int = 16) -> tuple[Tensor, Tensor]:
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    return network.eval().float()(image.clone()), image


def on_rows(output: Tensor, image: Tensor) -> Linearised:
    network = linearise(output, image, sparse=True)
    assert network is not None
    return network


def assert_equal_to_autograd(output: Tensor, image: Tensor, channels: list[int] | None = None) -> Linearised:
    channels = list(range(output.shape[1])) if channels is None else channels
    sums = output.sum(dim=(0, 2, 3))
    expected = torch.cat([torch.autograd.grad(sums[k], image, retain_graph=True)[0] for k in channels])
    network = on_rows(output, image)
    scale = float(expected.abs().max())
    assert scale > 0
    for _ in range(2):  # a second run must not see what the first has left
        torch.testing.assert_close(network.gradients(channels), expected, rtol=1e-4, atol=1e-5 * scale)
    return network


class Residual(nn.Module):
    """Two branches that share a gradient, and a pooling whose windows overlap in front of each convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.wide, self.narrow = (
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.Conv2d(8, 8, 3, 1, 1),
            nn.Conv2d(8, 8, 1),
        )
        self.each = nn.Conv2d(8, 8, 3, 1, 1, groups=8)
        self.last = nn.Conv2d(16, 40, 3)
        seeded(self)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(torch.relu(self.first(x)), 3, 2)
        x = x + self.wide(torch.relu(self.narrow(x)))
        x = torch.relu(x)
        pooled_once = functional.max_pool2d(x, 3, 1, 1)
        return self.last(torch.cat([self.each(pooled_once), self.narrow(pooled_once)], dim=1))
