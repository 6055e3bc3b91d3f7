"""Winograd's convolution equals the plain one, and runs where it pays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from partscope.backward import linearise

pytest.importorskip("numba")

from partscope.backward import convolution
from partscope.backward.compiled import sparse, winograd
from partscope.backward.convolution import Convolution
from partscope.backward.pieces import Piece


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_three_matrices_are_a_correlation() -> None:
    """Aᵀ((G w) ∘ (Bᵀ d)) is the correlation of six values with three weights."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        values, weights = rng.integers(-9, 9, 6), rng.integers(-9, 9, 3)
        product = (winograd._WEIGHTS @ weights) * (winograd._INTO @ values)
        np.testing.assert_allclose(
            winograd._BACK @ product, np.correlate(values, weights, "valid"), atol=1e-12
        )


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 5),
    ins=st.sampled_from([16, 48, 80]),
    outs=st.sampled_from([16, 32, 64]),
    height=st.integers(1, 19),
    width=st.integers(1, 19),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    seed=st.integers(0, 99),
)
def test_any_convolution_equals_the_plain_one(
    count: int, ins: int, outs: int, height: int, width: int, padding: tuple[int, int], seed: int
) -> None:
    height, width = max(height, 3 - 2 * padding[0]), max(width, 3 - 2 * padding[1])
    maps, weight = random(count, ins, height, width, seed=seed), random(outs, ins, 3, 3, seed=seed + 1)
    expected = functional.conv2d(maps.double(), weight.double(), padding=padding)
    found = winograd.convolve(maps, winograd.prepared(weight), padding)
    assert found.shape == expected.shape
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert (found - expected).abs().max() <= 3e-5 * expected.abs().max()


def test_values_far_from_one_keep_their_digits() -> None:
    maps, weight = random(2, 32, 9, 9), random(32, 32, 3, 3)
    small = winograd.convolve(maps * 2**-40, winograd.prepared(weight), (1, 1))
    assert torch.equal(small * 2**40, winograd.convolve(maps, winograd.prepared(weight), (1, 1)))


def test_neither_threads_nor_other_maps_change_a_bit() -> None:
    maps, weight = random(40, 32, 13, 13), random(48, 32, 3, 3)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(winograd.convolve(maps, winograd.prepared(weight), (1, 1)))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert torch.equal(results[0][7:9], winograd.convolve(maps[7:9], winograd.prepared(weight), (1, 1)))


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_a_wide_convolution_runs_so(monkeypatch: pytest.MonkeyPatch, padding: int) -> None:
    weight, size = random(64, 96, 3, 3), (24, 20)
    operation = Convolution(weight, (1, 1), (padding, padding), (1, 1), 1, size, maps=32)
    height, width = (s + 2 * padding - 2 for s in size)
    gradient = random(32, 1, 64, height, width)
    calls: list[int] = []
    convolve = winograd.convolve
    monkeypatch.setattr(winograd, "convolve", lambda *given: calls.append(1) or convolve(*given))
    found, *_ = operation([Piece(gradient)])
    expected = functional.conv_transpose2d(gradient[:, 0].double(), weight.double(), padding=padding)
    assert calls == [1]
    assert found is not None
    assert (found.values[:, 0] - expected).abs().max() <= 3e-5 * expected.abs().max()
    assert operation.share_of_time() < 0.9


@pytest.mark.parametrize(
    ("changed", "maps"),
    [
        ({"stride": (2, 2)}, 16),
        ({"dilation": (2, 2)}, 16),
        ({"groups": 2}, 16),
        ({"weight": random(64, 64, 1, 1)}, 16),
        ({"weight": random(64, 24, 3, 3)}, 16),  # not in rows of sixteen
        ({"weight": random(16, 64, 3, 3)}, 16),  # too little between the ways
        ({"weight": random(64, 64, 3, 3).double()}, 16),
        ({"padding": (3, 1)}, 16),  # its way back is a transposed convolution
        ({"size": (6, 6)}, 1),  # the weights' way is too long for one map
    ],
)
def test_others_do_not(changed: dict[str, object], maps: int) -> None:
    given = {
        "weight": random(64, 64, 3, 3), "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1, "size": (20, 20),
        "maps": 16,
    }  # fmt: skip
    assert Convolution(**given).share_of_time() < 1  # type: ignore[arg-type]
    assert Convolution(**(given | changed | {"maps": maps})).share_of_time() == 1  # type: ignore[arg-type]


def test_without_numba_none_does(monkeypatch: pytest.MonkeyPatch) -> None:
    operation = Convolution(random(64, 64, 3, 3), (1, 1), (1, 1), (1, 1), 1, (20, 20))
    monkeypatch.setattr(convolution, "has_numba", lambda: False)
    assert operation.share_of_time() == 1


def test_a_deep_network_equals_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of ten such convolutions in a row stay below 1e-4 of each gradient's maximum."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, padding=1)]
    for _ in range(10):
        layers += [nn.LeakyReLU(0.3), nn.Conv2d(64, 64, 3, padding=1)]
    image = random(1, 3, 32, 32).requires_grad_(True)
    output = nn.Sequential(*layers)(image)
    calls: list[int] = []
    convolve = winograd.convolve
    monkeypatch.setattr(winograd, "convolve", lambda *given: calls.append(1) or convolve(*given))
    network = linearise(output, image)
    assert network is not None
    found = network.gradients(range(16))
    assert len(calls) == 9  # the first is given a narrow band of channels
    for k in range(16):
        (expected,) = torch.autograd.grad(output[:, k].sum(), image, retain_graph=True)
        assert (found[k] - expected[0]).abs().max() <= 1e-4 * expected.abs().max()


def test_the_chunk_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many channels are asked for in all does."""
    calls: list[int] = []
    convolve = winograd.convolve
    monkeypatch.setattr(winograd, "convolve", lambda *given: calls.append(1) or convolve(*given))
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3, padding=1), nn.Conv2d(64, 20, 1))
    image = random(1, 3, 34, 34).requires_grad_(True)
    output = network(image)
    linear = linearise(output, image, wanted=20)
    assert linear is not None
    linear.gradients(range(20))
    linear.gradients([7])
    assert calls == [1, 1]
    shares = {
        wanted: Convolution(
            random(64, 64, 3, 3), (1, 1), (1, 1), (1, 1), 1, (8, 8), maps=wanted
        ).share_of_time()
        for wanted in (1, 1000)
    }
    assert shares[1] == 1
    assert shares[1000] < 1


def test_no_maps_give_none() -> None:
    operation = Convolution(random(64, 64, 3, 3), (1, 1), (1, 1), (1, 1), 1, (20, 20))
    found, *_ = operation([Piece(torch.empty(0, 1, 64, 20, 20))])
    assert found is not None
    assert found.values.shape == (0, 1, 64, 20, 20)


def test_rows_must_beat_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where half of the time would do on whole maps, rows pay for half as many elements."""
    operation = Convolution(random(64, 64, 3, 3), (1, 1), (1, 1), (1, 1), 1, (20, 20))
    share = operation.share_of_time()
    some = 0.45 / sparse._VISIT
    visits = [sparse.Visit(1.0, some, listing, listing, s) for s in (1.0, share) for listing in [Empty()]]  # type: ignore[arg-type]
    assert share < 0.8
    monkeypatch.setattr(sparse, "_TURN", 0)
    assert visits[0].pays(from_rows=False)
    assert visits[1].pays(from_rows=False) == (share >= 0.45)


class Empty:
    rows: tuple[()] = ()
    size = 0
