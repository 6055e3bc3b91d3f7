"""Feature grids: one pass, several layers, one common grid."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from networks import SIDE, awkward_network, backbone_of, everything, picture, seeded
from partscope.errors import BackboneError, OptionError
from partscope.grid_layers import default_layers
from partscope.grids import FeatureGrids


def grids_of(layers: tuple[str, ...] = ("2", "7"), **options: object) -> FeatureGrids:
    return FeatureGrids(backbone_of(awkward_network(), "7"), layers, **options)  # type: ignore[arg-type]


def dense(grids: FeatureGrids, maps: list[Tensor]) -> Tensor:
    """All channels on the common grid, the long way: interpolate every map, pad it, and shift it."""
    rows, columns = grids.grid
    pieces = []
    for layer, features in zip(grids.layers, maps, strict=True):
        up = functional.interpolate(features[None], size=(rows, columns), mode="bilinear")[0]
        for x, y in grids.places(layer):
            dx, dy = round(x * columns), round(y * rows)
            padded = functional.pad(up[None], (columns,) * 2 + (rows,) * 2, mode="replicate")[0]
            pieces.append(padded[:, rows + dy : 2 * rows + dy, columns + dx : 2 * columns + dx])
    return torch.cat(pieces)


def test_layers_come_from_one_pass_and_equal_those_of_single_passes() -> None:
    grids = grids_of()
    before = everything(grids.backbone.network)
    inputs = picture(dtype=torch.float32)[None]
    maps = grids(inputs)
    assert grids.shapes == [(6, SIDE, SIDE), (5, SIDE // 2, SIDE // 2)]
    for layer, features in zip(grids.layers, maps, strict=True):
        # Layer 2 is followed by an in-place ReLU, which must not reach the copy.
        alone = backbone_of(grids.backbone.network, layer).activations(inputs)
        torch.testing.assert_close(features, alone.detach())
    assert everything(grids.backbone.network) == before


def test_nothing_behind_the_last_layer_runs() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("never to be run")

    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 4, 1), Fails())
    grids = FeatureGrids(backbone_of(network, "1"), ("1", "0"))
    assert [tuple(features.shape) for features in grids(picture(dtype=torch.float32)[None])] == [
        (1, 4, SIDE, SIDE),
        (1, 2, SIDE, SIDE),
    ]


@pytest.mark.parametrize("context", [(), ("2",), ("2", "7")])
def test_combining_and_sampling_equal_the_long_way(context: tuple[str, ...]) -> None:
    grids = grids_of(context=context, reach=0.25)
    maps = [features[0] for features in grids(picture(3, dtype=torch.float32)[None])]
    if "7" in context:
        # A coarse layer is interpolated at the place itself; the long way shifts what was interpolated: equal inside.
        inside = (slice(None), slice(5, -5), slice(5, -5))
    else:
        inside = (slice(None), slice(None), slice(None))
    expected = dense(grids, maps)
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(grids.features, 3)).astype(np.float32)
    combined = torch.from_numpy(grids.combine(maps, weights))
    wanted = torch.einsum("dq,dhw->qhw", torch.from_numpy(weights), expected)
    torch.testing.assert_close(combined[inside], wanted[inside], rtol=1e-4, atol=1e-4)
    sampled = torch.from_numpy(grids.sample(maps, grids.cell_centres())).T.reshape(expected.shape)
    torch.testing.assert_close(sampled[inside], expected[inside], rtol=1e-4, atol=1e-4)


def test_feature_names_follow_the_order_of_the_features() -> None:
    grids = grids_of(context=("7",), reach=0.25)
    names = grids.feature_names()
    assert len(names) == grids.features == 6 + 9 * 5
    assert names[0] == ("2", 0, (0.0, 0.0))
    assert names[6] == ("7", 0, (0.0, 0.0))
    assert {offset for layer, _, offset in names if layer == "7"} == {
        (x, y) for x in (-0.25, 0.0, 0.25) for y in (-0.25, 0.0, 0.25)
    }


def test_tokens_of_a_vision_transformer_are_its_patches() -> None:
    network = timm.create_model(
        "vit_tiny_patch16_224", pretrained=False, img_size=64, embed_dim=24, depth=3, num_heads=2
    )
    backbone = backbone_of(seeded(network).eval(), "blocks.2", 64)
    assert default_layers(backbone) == (("blocks.1", "blocks.2"), ())
    grids = FeatureGrids(backbone, ("blocks.1",))
    inputs = picture(0, 64, torch.float32)[None]
    (features,) = grids(inputs)
    caught: list[Tensor] = []
    handle = network.get_submodule("blocks.1").register_forward_hook(
        lambda m, a, output: caught.append(output)
    )
    with torch.no_grad():
        network(inputs)
    handle.remove()
    assert features.shape == (1, 24, 4, 4)
    torch.testing.assert_close(features[0, :, 1, 2], caught[0][0, 1 + 1 * 4 + 2])


def test_channels_last_outputs_are_turned() -> None:
    class Turn(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.permute(0, 2, 3, 1)

    network = nn.Sequential(nn.Conv2d(3, 5, 1), Turn())
    first, second = FeatureGrids(backbone_of(network, "0"), ("0", "1"))(picture(dtype=torch.float32)[None])
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize(
    ("layers", "options", "error", "says"),
    [
        (("2", "17"), {}, BackboneError, "no layer '17'"),
        ((), {}, OptionError, "one or more different"),
        (("2", "2"), {}, OptionError, "one or more different"),
        (("2",), {"context": ("7",)}, OptionError, "none of the layers"),
        (("2",), {"reach": 0.6}, OptionError, "reach"),
    ],
)
def test_wrong_layers_are_refused(
    layers: tuple[str, ...], options: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        grids_of(layers, **options)


def test_an_output_that_is_no_grid_is_refused() -> None:
    with pytest.raises(BackboneError, match="no feature grid"):
        _ = grids_of(("9",)).shapes


def test_values_that_are_not_finite_are_refused() -> None:
    network = awkward_network()
    with torch.no_grad():
        network.get_parameter("6.weight").fill_(float("inf"))
    grids = FeatureGrids(backbone_of(network, "7"), ("6",))
    with pytest.raises(BackboneError, match="not finite"):
        grids(picture(dtype=torch.float32)[None])
