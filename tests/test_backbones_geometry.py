"""Where cells lie: steps by hand and by what a network does to a shifted picture."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from networks import backbone_of
from partscope.backbones.geometry import CellGeometry, cell_step


class Branches(nn.Module):
    """Two ways of the same stride that meet in a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 2, 3, stride=2, padding=1), nn.Conv2d(3, 2, 1, stride=2)
        self.end = nn.MaxPool2d(2, ceil_mode=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.end(torch.relu(self.left(x) + self.right(x)))


@pytest.mark.parametrize(
    ("network", "step"),
    [
        (nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(inplace=True)), (1, 1)),
        (nn.Sequential(nn.Conv2d(3, 2, 3, stride=2), nn.MaxPool2d(3, 2)), (4, 4)),
        (nn.Sequential(nn.Conv2d(3, 2, 3, stride=(2, 3)), nn.AvgPool2d(2)), (6, 4)),
        (nn.Sequential(nn.ZeroPad2d(1), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3, stride=2)), (2, 2)),
        (Branches(), (4, 4)),
        (nn.Sequential(nn.Conv2d(3, 2, 3, stride=2), nn.Upsample(scale_factor=2)), None),
        (nn.Sequential(nn.ConvTranspose2d(3, 2, 3, stride=2)), None),
    ],
)
def test_strides_multiply_up(network: nn.Module, step: tuple[float, float] | None) -> None:
    assert cell_step(network.eval(), torch.zeros(1, 3, 32, 32)) == step


def test_cells_of_an_unpadded_network_leave_the_border_out() -> None:
    network = nn.Sequential(nn.Conv2d(3, 1, 3, stride=2), nn.MaxPool2d(3, 2))
    backbone = backbone_of(network, "1", side=31)  # 31 → 15 → 7 cells
    cells = backbone.cells
    # By hand: the first field of the pool reaches over the convolution's cells 0 to 2, so over pixels 0 to 6: 3.5.
    assert cells == CellGeometry((3.5, 3.5), (4.0, 4.0))
    at = cells.to_input(torch.tensor([[0.5, 6.5]], dtype=torch.float64))
    assert at.tolist() == [[3.5, 27.5]]
    rows, columns = cells.positions((7, 7))
    assert rows.tolist() == columns.tolist() == [3.5 + 4 * i for i in range(7)]


def test_a_cell_moves_by_one_where_the_picture_moves_by_a_step() -> None:
    network = nn.Sequential(nn.Conv2d(3, 1, 3, stride=2, bias=False), nn.MaxPool2d(3, 2))
    nn.init.ones_(network[0].weight)
    cells = backbone_of(network, "1", side=31).cells
    for x in (11, 15, 19):
        picture = torch.zeros(1, 3, 31, 31)
        picture[..., 15, x] = 1
        with torch.no_grad():
            column = network(picture)[0, 0].sum(dim=0)
        at = (column * (cells.start[0] + cells.step[0] * torch.arange(7))).sum() / column.sum()
        assert float(at) == pytest.approx(x + 0.5, abs=1e-4)


def test_a_finer_grid_covers_the_same_place() -> None:
    cells = CellGeometry.centred(32, (4, 4))
    assert cells == CellGeometry((4.0, 4.0), (8.0, 8.0))
    fine = cells.finer(4)
    edge = torch.tensor([[0.0, 4.0]], dtype=torch.float64)
    torch.testing.assert_close(fine.to_input(edge * 4), cells.to_input(edge))


def test_a_layer_of_unknown_geometry_fills_the_input() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3, stride=2, padding=1), nn.Upsample(scale_factor=2))
    assert backbone_of(network, "1", side=32).cells == CellGeometry((0.5, 0.5), (1.0, 1.0))
