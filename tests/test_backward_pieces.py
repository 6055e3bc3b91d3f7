"""Gradients of several channels: narrow bands, every n-th pixel, and their sums."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from partscope.backward import linearise
from partscope.backward.pieces import Piece

SIZE = (7, 6)


def spaced(every: tuple[int, int], channels: int = 4) -> Piece:
    height, width = (-(-s // e) for s, e in zip(SIZE, every, strict=True))
    return Piece(torch.randn(3, 1, channels, height, width), every=every, size=SIZE)


def test_pixels_between_have_zero_gradient() -> None:
    piece = spaced((2, 3))
    whole = piece.filled().values
    assert whole.shape == (3, 1, 4, *SIZE)
    assert torch.equal(whole[..., ::2, ::3], piece.values)
    assert whole.count_nonzero() == piece.values.count_nonzero()
    assert piece.filled().filled().values is not piece.values


@settings(max_examples=60, deadline=None)
@given(
    every=st.tuples(
        st.tuples(st.integers(1, 3), st.integers(1, 3)), st.tuples(st.integers(1, 3), st.integers(1, 3))
    ),
    owned=st.tuples(st.booleans(), st.booleans()),
    first=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    width=st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
def test_a_sum_is_that_of_all_pixels(
    every: tuple[tuple[int, int], tuple[int, int]],
    owned: tuple[bool, bool],
    first: tuple[int, int],
    width: tuple[int, int],
) -> None:
    one, two = (spaced(e, min(w, 4 - f)) for e, f, w in zip(every, first, width, strict=True))
    one.owned, two.owned = owned
    one.first, two.first = first
    before = [piece.values.clone() for piece in (one, two)]
    expected = one.filled().whole(4).values + two.filled().whole(4).values
    found = one.plus(two, 4)
    assert torch.equal(found.filled().whole(4).values, expected)
    for piece, values in zip((one, two), before, strict=True):
        assert piece.owned or torch.equal(piece.values, values)


def test_a_band_and_every_second_pixel() -> None:
    band = Piece(torch.randn(3, 1, 2, *SIZE), first=1)
    other = spaced((2, 2))
    expected = band.whole(4).values + other.filled().values
    assert torch.equal(other.plus(band, 4).values, expected)
    assert torch.equal(band.plus(other, 4).values, expected)


class Shortcut(nn.Module):
    """A residual block whose shortcut looks at every second pixel; either branch may come first on the way back."""

    def __init__(self, first: str) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.main = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.short = nn.Conv2d(8, 12, 1, stride=2)
        self.order = first

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image).relu()
        if self.order == "short":
            short = self.short(x)
            return self.main(x) + short
        if self.order == "alone":
            return self.short(x)
        if self.order == "twice":
            return self.short(x) + self.short(x.flip(3))
        main = self.main(x)
        return main + self.short(x)


@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("order", ["short", "main", "alone", "twice"])
def test_strided_shortcuts_equal_autograd(order: str, side: int) -> None:
    torch.manual_seed(0)
    network = Shortcut(order).double()
    image = torch.randn(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    output = network(image)
    linear = linearise(output, image)
    assert linear is not None
    for sparse in (False, True):
        if sparse:
            pytest.importorskip("numba")
            image = image.detach().float().requires_grad_(True)
            output = network.float()(image)
            linear = linearise(output, image, sparse=True)
            assert linear is not None
        found = linear.gradients(range(12))
        for k in range(12):
            (expected,) = torch.autograd.grad(output[:, k].sum(), image, retain_graph=True)
            torch.testing.assert_close(found[k], expected[0], atol=1e-5 if sparse else 1e-10, rtol=0)


def test_bands_of_depthwise_shortcuts() -> None:
    """The gradient of channel 3 alone is a band of one channel, on both branches."""
    torch.manual_seed(0)
    stem = nn.Conv2d(3, 4, 3, padding=1).double()
    short = nn.Conv2d(4, 4, 1, stride=2, groups=4).double()
    main = nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4).double()
    image = torch.randn(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    x = stem(image)
    output = torch.cat([short(x), main(x)], 1)
    linear = linearise(output, image)
    assert linear is not None
    found = linear.gradients([3, 4])
    for row, k in enumerate((3, 4)):
        (expected,) = torch.autograd.grad(output[:, k].sum(), image, retain_graph=True)
        torch.testing.assert_close(found[row], expected[0])


@pytest.mark.usefixtures("always_on_rows")
def test_the_image_itself_may_be_seen_at_every_second_pixel_beside_rows() -> None:
    torch.manual_seed(0)
    short = nn.Conv2d(3, 4, 1, stride=2)
    main = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    image = torch.randn(1, 3, 16, 16, requires_grad=True)
    output = torch.cat([short(image), main(image)], 1)
    for channels in ([0], [5], [0, 5]):
        linear = linearise(output, image, sparse=True)
        assert linear is not None
        found = linear.gradients(channels)
        for row, k in enumerate(channels):
            (expected,) = torch.autograd.grad(output[:, k].sum(), image, retain_graph=True)
            torch.testing.assert_close(found[row], expected[0])


def test_the_image_itself_may_be_seen_at_every_second_pixel() -> None:
    image = torch.randn(1, 3, 5, 7, requires_grad=True)
    network = nn.Conv2d(3, 4, 1, stride=(2, 3))
    linear = linearise(network(image), image)
    assert linear is not None
    found = linear.gradients([0, 3])
    (expected,) = torch.autograd.grad(network(image)[:, 3].sum(), image)
    assert found.shape == (2, 3, 5, 7)
    torch.testing.assert_close(found[1], expected[0])
