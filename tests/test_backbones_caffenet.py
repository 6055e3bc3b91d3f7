from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from partscope.backbones import Backbone
from partscope.backbones.caffenet import CAFFENET_PREPROCESSING, caffenet
from partscope.maps import gradient_maps

SHAPES = {
    "conv1": (96, 3, 11, 11),
    "conv2": (256, 48, 5, 5),
    "conv3": (384, 256, 3, 3),
    "conv4": (384, 192, 3, 3),
    "conv5": (256, 192, 3, 3),
}


def convolve(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int, padding: int, groups: int
) -> np.ndarray:
    """Grouped convolution: each half of the outputs sees its half of the inputs alone."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    outs = []
    for g in range(groups):
        inputs = x[g * w.shape[1] : (g + 1) * w.shape[1]]
        kernels = w[g * len(w) // groups : (g + 1) * len(w) // groups]
        windows = sliding_window_view(inputs, w.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
        outs.append(np.tensordot(kernels, windows, axes=((1, 2, 3), (0, 3, 4))))
    return np.concatenate(outs) + b[:, None, None]


def pool(x: np.ndarray) -> np.ndarray:
    """Largest value of 3×3 windows at every second pixel; the last window may hang over (Caffe rounds up)."""
    rows = -(-(x.shape[1] - 3) // 2) + 1
    result = np.empty((len(x), rows, rows))
    for i in range(rows):
        for j in range(rows):
            result[:, i, j] = x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max(axis=(1, 2))
    return result


def normalise(x: np.ndarray) -> np.ndarray:
    """Krizhevsky et al. 2012, section 3.3, with Caffe's division of alpha by the window."""
    result = np.empty_like(x)
    for k in range(len(x)):
        energy = (x[max(0, k - 2) : k + 3] ** 2).sum(axis=0)
        result[k] = x[k] / (1 + 1e-4 / 5 * energy) ** 0.75
    return result


def reference(x: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    def layer(x: np.ndarray, name: str, stride: int, padding: int, groups: int) -> np.ndarray:
        return np.maximum(convolve(x, w[f"{name}.weight"], w[f"{name}.bias"], stride, padding, groups), 0)

    x = normalise(pool(layer(x, "conv1", 4, 0, 1)))
    x = normalise(pool(layer(x, "conv2", 1, 2, 2)))
    x = layer(x, "conv3", 1, 1, 1)
    x = layer(x, "conv4", 1, 1, 2)
    return pool(layer(x, "conv5", 1, 1, 2))


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    result = {}
    for name, shape in SHAPES.items():
        # Activations of some hundreds, as in the real network: below that the normalisation does nothing.
        result[f"{name}.weight"] = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
        result[f"{name}.bias"] = rng.normal(0, 10, shape[0])
    return result


def test_the_parameters_have_caffes_shapes(weights: dict[str, np.ndarray]) -> None:
    own = {name: tuple(value.shape) for name, value in caffenet().state_dict().items()}
    assert own == {name: value.shape for name, value in weights.items()}


def test_the_network_equals_plain_loops(weights: dict[str, np.ndarray]) -> None:
    network = caffenet().double().eval()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    x = np.random.default_rng(1).uniform(-120, 140, (3, 227, 227))
    with torch.no_grad():
        found = network(torch.from_numpy(x)[None])[0].numpy()
        # The order of pooling and normalisation makes a difference that the comparison can see.
        swapped = network.pool1(network.norm1(network.relu1(network.conv1(torch.from_numpy(x)[None]))))
        in_order = network.norm1(network.pool1(network.relu1(network.conv1(torch.from_numpy(x)[None]))))
    assert found.shape == (256, 6, 6)
    assert (swapped - in_order).abs().max() > 1
    expected = reference(x, weights)
    assert expected.max() > 10
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_each_half_of_a_grouped_layer_sees_its_half_alone(weights: dict[str, np.ndarray]) -> None:
    network = caffenet().double().eval()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    x = torch.randn(1, 256, 13, 13, dtype=torch.float64)
    changed = x.clone()
    changed[:, 128:] += 1
    with torch.no_grad():
        difference = (
            (network.conv2(changed[:, 80:176]) - network.conv2(x[:, 80:176])).abs().amax(dim=(0, 2, 3))
        )
    assert (difference[:128] == 0).all()
    assert (difference[128:] > 0).all()


def test_gradients_pass_through_all_of_it(weights: dict[str, np.ndarray]) -> None:
    network = caffenet()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    backbone = Backbone(network, "pool5", CAFFENET_PREPROCESSING, channels_last=True)
    assert backbone.grid == (256, 6, 6)
    maps = gradient_maps(backbone, torch.randn(3, 227, 227) * 50, [0, 255])
    assert maps.shape == (2, 227, 227)
    assert (maps.flatten(1).amax(dim=1) > 0).all()
