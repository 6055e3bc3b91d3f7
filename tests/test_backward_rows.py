"""Which elements of a value are listed, how many multiplications that leaves, and rows as gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from networks import seeded

pytest.importorskip("numba")

from backward_on_rows import Residual, on_rows, recorded
from partscope.backward.compiled import sparse
from partscope.backward.compiled.lanes import LANES
from partscope.backward.compiled.reach import Reach
from partscope.backward.compiled.row_operations import pooled, row_operation, visited
from partscope.backward.compiled.rows import Listing, Rows, zeros
from partscope.backward.convolution import Convolution
from partscope.backward.pieces import Piece


# -- what is visited -------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("always_on_rows")
def test_the_elements_of_a_pooled_mask_in_closed_form() -> None:
    """One window, one unit on: its gradient reaches that unit's place alone."""
    network = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(1, 1, 1))
    with torch.no_grad():
        network[0].weight.fill_(1.0)
    image = torch.full((1, 3, 4, 4), -1.0)
    image[0, :, 0, 1] = 2.0
    image[0, :, 0, 0] = 1.0
    image[0, :, 3, 3] = 1.0
    image.requires_grad_(True)
    linear = on_rows(network(image.clone()), image)
    assert linear._sparse is not None
    reach: Reach = linear._sparse._reach
    masks = [reach.mask(key) for key in linear._shapes if key in reach._masks]
    found = [mask[:, :, 0] for mask in masks if mask is not None and mask.shape == (4, 4, 1)]
    expected = np.zeros((4, 4), bool)
    expected[0, 1] = expected[3, 3] = True
    assert any(np.array_equal(mask, expected) for mask in found)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([(1, 1), (3, 1), (3, 2), (5, 3)]))
def test_the_multiplications_that_are_counted_are_those_between_listed_elements(
    seed: int, shape: tuple[int, int]
) -> None:
    generator = np.random.default_rng(seed)
    (kernel, stride), padding = shape, shape[0] // 2
    side, small = 7, (7 + 2 * padding - kernel) // stride + 1
    given_mask, out_mask = generator.random((small, small, 3)) < 0.5, generator.random((side, side, 2)) < 0.5
    operation = Convolution(
        torch.ones(3, 2, kernel, kernel), (stride, stride), (padding, padding), (1, 1), 1, (side, side)
    )
    count = 0
    for y, x, _ in np.argwhere(given_mask):
        for i in range(kernel):
            for j in range(kernel):
                v, u = y * stride - padding + i, x * stride - padding + j
                if 0 <= v < side and 0 <= u < side:
                    count += int(out_mask[v, u].sum())
    every, some = visited(operation, Listing.of(given_mask), Listing.of(out_mask))
    assert every == small * small * 3 * 2 * kernel**2
    assert some == count


@pytest.mark.usefixtures("always_on_rows")
def test_multiplications_of_a_network_are_those_of_its_convolutions() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    output, image = recorded(seeded(network))
    on = (network[1](network[0](image)) > 0).sum().item()
    every, some = on_rows(output, image).multiplications()
    assert every == 16 * 16 * (8 * 4 + 8 * 3 * 9)
    assert on * 4 < some <= on * (4 + 3 * 9)
    with pytest.raises(ValueError, match="whole"):
        on_rows(*recorded(seeded(nn.Sequential(nn.Conv2d(3, 4, 3))))).multiplications()


# -- rows ------------------------------------------------------------------------------------------------------------------------
def test_rows_and_whole_maps_are_each_other() -> None:
    generator = np.random.default_rng(0)
    mask = generator.random((5, 7, 3)) < 0.4
    maps = torch.randn(LANES + 3, 3, 5, 7) * torch.from_numpy(mask).permute(2, 0, 1)
    rows = Rows.gathered(Piece(maps.unsqueeze(1)), Listing.of(mask))
    assert rows.values.shape == (2, int(mask.sum()), LANES)
    for layout in (torch.channels_last, torch.contiguous_format):
        piece = rows.piece(layout)
        assert torch.equal(piece.values.squeeze(1), maps)
        assert piece.values.squeeze(1).is_contiguous(memory_format=layout)


def test_an_element_that_is_listed_twice_is_the_sum() -> None:
    maxima = np.array([0, 0, 3, 3]).reshape(2, 2, 1)  # four windows, two maxima
    given_listing, out = Listing.of(np.ones((2, 2, 1), bool)), Listing.of(np.ones((2, 2, 1), bool))
    values = zeros(1, 4)
    values[0, :, 0] = [1, 2, 3, 4]
    found = Rows(pooled(maxima, given_listing, out), values, 1).piece().values.flatten()
    assert found.tolist() == [3, 0, 0, 7]


def test_entries_of_a_pooled_position_are_all_listed() -> None:
    maxima = np.array([[[0, 0, 0], [0, 0, 0]]])  # two windows of three channels, all at the first position
    listing = pooled(maxima, Listing.of(np.ones((1, 2, 3), bool)), Listing.of(np.ones((1, 2, 3), bool)))
    assert sorted(listing.channels.tolist()) == [0, 0, 1, 1, 2, 2]
    assert sorted(listing.rows.tolist()) == [0, 1, 2, 3, 4, 5]
    assert all(channel == row % 3 for channel, row in zip(listing.channels, listing.rows, strict=True))
    assert listing.first.tolist() == [0, 6, 6]


def test_an_empty_listing_gives_zero() -> None:
    nothing, everything = Listing.of(np.zeros((3, 3, 2), bool)), Listing.of(np.ones((3, 3, 2), bool))
    operation = Convolution(torch.ones(2, 2, 3, 3), (1, 1), (1, 1), (1, 1), 1, (3, 3))
    run = row_operation(operation, nothing, everything, 0)
    assert run is not None
    assert not run(Rows(nothing, zeros(1, 0), 4), None).piece().values.any()


def test_the_chunk_is_cut_where_values_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    network = on_rows(*recorded(Residual(), 33))
    assert network.chunk == 64
    assert network._sparse is not None
    monkeypatch.setattr(sparse, "_MEMORY", network._sparse._reach.largest * 64 * 2)
    assert network.chunk == 32
    monkeypatch.setattr(sparse, "_MEMORY", 1)
    assert network.chunk == 16
