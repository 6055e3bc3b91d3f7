from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torch import Tensor, nn

import partscope.maps
from networks import seeded
from partscope.backbones import Backbone, Preprocessing
from partscope.backward import Linearised
from partscope.centres import find_centres
from partscope.channel_centres import CentreSpec, channel_centres
from partscope.errors import DatasetError, OptionError
from partscope.maps import activation_maps, gradient_maps

SIDE = 32
BOX = (9.0, 4.0, 30.0, 33.0)
SPECS = (
    CentreSpec(),
    CentreSpec(centre="maximum"),
    CentreSpec(centre="maximum", region="mask"),
    CentreSpec(region="crop", quantile=0.8),
    CentreSpec(centre="smoothed", reduction="l1", sigma=1.5),
    CentreSpec(centre="centroid", quantile=0.0, maps="activation"),
    CentreSpec(centre="centroid", quantile=0.0, maps="activation", region="mask"),
    CentreSpec(centre="centroid", region="mask", reduction="l1"),
)


def symmetric_network() -> nn.Sequential:
    """Five channels of a small network whose kernels are their own mirror images."""
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 5, 3, padding=1),
        nn.ReLU(),
    )
    seeded(network, 3)
    with torch.no_grad():
        for i in (0, 3):
            network[i].weight.add_(network[i].weight.flip(3)).div_(2)
    return network


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone(symmetric_network().double(), "4", Preprocessing(SIDE))


def picture(seed: int = 0, width: int = 52, height: int = 41) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


# -- one spec, written out ------------------------------------------------------------------------------------------------
def written_out(
    backbone: Backbone, image: Image.Image, spec: CentreSpec, channel: int
) -> tuple[float, float]:
    """A spec's chain for one channel, step by step."""
    x, y, width, height = (
        BOX if spec.region == "crop" else (0.0, 0.0, float(image.width), float(image.height))
    )
    inputs = backbone.preprocessing(image, (x, y, width, height))
    if spec.maps == "activation":
        maps = activation_maps(backbone, inputs, [channel]) ** 2
    else:
        maps = gradient_maps(backbone, inputs, [channel], reduction=spec.reduction)
    cells = maps.shape[-1]
    mask = None
    if spec.region == "mask":
        mask = torch.zeros(cells, cells, dtype=torch.bool)
        for i in range(cells):
            for j in range(cells):
                cx, cy = (j + 0.5) * width / cells, (i + 0.5) * height / cells
                mask[i, j] = BOX[0] <= cx <= BOX[0] + BOX[2] and BOX[1] <= cy <= BOX[1] + BOX[3]
    options = {"mixture": {"quantile": spec.quantile}, "centroid": {"quantile": spec.quantile}}
    options["smoothed"] = {"sigma": spec.sigma}
    point = find_centres(maps, spec.centre, mask, **options.get(spec.centre, {})).points[0].tolist()
    return x + point[0] * width / cells, y + point[1] * height / cells


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_centre_is_that_of_the_chain_written_out(backbone: Backbone, spec: CentreSpec) -> None:
    found = channel_centres(backbone, picture(), [spec], box=BOX)
    assert found.shape == (1, 5, 2)
    assert found.dtype == torch.float64
    for channel in range(5):
        expected = written_out(backbone, picture(), spec, channel)
        np.testing.assert_allclose(found[0, channel], expected, atol=1e-6, equal_nan=True)


# -- sharing ----------------------------------------------------------------------------------------------------------------------
def test_shared_passes_give_what_separate_calls_give(backbone: Backbone) -> None:
    together = channel_centres(backbone, picture(), SPECS, box=BOX)
    assert together.shape == (len(SPECS), 5, 2)
    for row, spec in enumerate(SPECS):
        alone = channel_centres(backbone, picture(), [spec], box=BOX)
        torch.testing.assert_close(together[row], alone[0], equal_nan=True, rtol=0, atol=0)


def test_passes_that_specs_have_in_common_are_made_once(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"forward": 0, "backward": 0}
    run, differentiate, batched = Backbone.activations, partscope.maps._gradients, Linearised.gradients

    def activations(self: Backbone, inputs: Tensor) -> Tensor:
        counts["forward"] += 1
        return run(self, inputs)

    def gradients(activations: Tensor, image: Tensor, channels: Any) -> Tensor:
        counts["backward"] += len(channels)
        return differentiate(activations, image, channels)

    monkeypatch.setattr(Backbone, "activations", activations)

    def linearised(self: Linearised, channels: Any) -> Tensor:
        counts["backward"] += len(channels)
        return batched(self, channels)

    monkeypatch.setattr(partscope.maps, "_gradients", gradients)
    monkeypatch.setattr(Linearised, "gradients", linearised)
    one_look = [
        CentreSpec(),
        CentreSpec(centre="maximum"),
        CentreSpec(region="mask"),
        CentreSpec(quantile=0.5),
    ]
    channel_centres(backbone, picture(), one_look, box=BOX)
    assert counts == {"forward": 1, "backward": 5}
    counts.update(forward=0, backward=0)
    # Another reduction needs its own maps, the crop its own input, the activations no gradient.
    channel_centres(backbone, picture(), SPECS, box=BOX, channels=[4, 1])
    assert counts == {"forward": 4, "backward": 6}


@settings(max_examples=15)
@given(channels=st.lists(st.integers(0, 4), max_size=25), chunk=st.one_of(st.none(), st.integers(1, 7)))
def test_any_channels_in_any_order_and_chunk(
    backbone: Backbone, channels: list[int], chunk: int | None
) -> None:
    specs = [SPECS[0], SPECS[5]]
    everyone = channel_centres(backbone, picture(), specs)
    found = channel_centres(backbone, picture(), specs, channels=channels, chunk=chunk)
    assert found.shape == (2, len(channels), 2)
    torch.testing.assert_close(found, everyone[:, channels], rtol=0, atol=1e-6, equal_nan=True)


# -- regions ------------------------------------------------------------------------------------------------------------------------
def test_masked_centres_lie_in_the_box_and_cropped_ones_too(backbone: Backbone) -> None:
    masked, cropped = channel_centres(
        backbone,
        picture(),
        [CentreSpec(centre="maximum", region=region) for region in ("mask", "crop")],
        box=BOX,
    )
    for found in (masked, cropped):
        assert ((found[:, 0] >= BOX[0]) & (found[:, 0] <= BOX[0] + BOX[2])).all()
        assert ((found[:, 1] >= BOX[1]) & (found[:, 1] <= BOX[1] + BOX[3])).all()


def test_the_box_of_the_whole_picture_changes_nothing(backbone: Backbone) -> None:
    specs = [CentreSpec(region=region) for region in ("image", "mask", "crop")]
    whole, masked, cropped = channel_centres(backbone, picture(), specs, box=(0, 0, 52, 41))
    torch.testing.assert_close(masked, whole)
    torch.testing.assert_close(cropped, whole)


def test_the_image_region_does_not_look_at_the_box(backbone: Backbone) -> None:
    expected = channel_centres(backbone, picture(), [CentreSpec()])
    for box in (BOX, (0, 0, 0, 0), (math.nan,) * 4):
        torch.testing.assert_close(
            channel_centres(backbone, picture(), [CentreSpec()], box=box), expected, rtol=0, atol=0
        )


@pytest.mark.parametrize("region", ["mask", "crop"])
@pytest.mark.parametrize("kind", ["gradient", "activation"])
def test_boxes_are_clipped_or_refused(backbone: Backbone, region: str, kind: str) -> None:
    spec = CentreSpec(region=region, maps=kind)
    over = channel_centres(backbone, picture(), [spec], box=(-20, 10, 50, 100))
    torch.testing.assert_close(over, channel_centres(backbone, picture(), [spec], box=(0, 10, 30, 31)))
    with pytest.raises(DatasetError, match=f"region '{region}' needs a bounding box"):
        channel_centres(backbone, picture(), [CentreSpec(), spec])
    for box in ((60, 0, 10, 10), (0, 0, 0, 10), (0, math.nan, 5, 5)):
        with pytest.raises(DatasetError, match="the bounding box"):
            channel_centres(backbone, picture(), [CentreSpec(), spec], box=box)


def test_a_grid_that_is_not_square_leads_back_to_the_picture() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, (1, 9)), nn.AvgPool2d((4, 2)))
    with torch.no_grad():
        network[0].weight.zero_()
        network[0].bias.copy_(torch.tensor([1.0, 0.0]))
        network[0].weight[1, 0, 0, 4] = 1
    backbone = Backbone(network, "1", Preprocessing(SIDE, (0, 0, 0), (1, 1, 1)))
    assert backbone.grid == (2, 8, 12)
    specs = [
        CentreSpec(centre="centroid", quantile=0.0, maps="activation", region=r) for r in ("image", "mask")
    ]
    found = channel_centres(backbone, Image.new("RGB", (64, 96), "white"), specs, box=(0, 0, 64, 48))
    # Channel 0 is constant: its centroid is the middle of the picture, or of the box.
    np.testing.assert_allclose(found[:, 0], [[32, 48], [32, 24]], atol=1e-4)


# -- mirrored pictures ----------------------------------------------------------------------------------------------------------
@settings(max_examples=4)
@given(seed=st.integers(0, 10**6), width=st.sampled_from([SIDE, 52, 90]))
def test_a_mirrored_picture_has_mirrored_centres(backbone: Backbone, seed: int, width: int) -> None:
    image = picture(seed, width)
    box = (float(width - BOX[0] - BOX[2]), BOX[1], BOX[2], BOX[3]) if width > SIDE else (2.0, 4.0, 20.0, 30.0)
    mirrored_box = (width - box[0] - box[2], *box[1:])
    specs = [spec for spec in SPECS if spec.centre != "maximum"]
    found = channel_centres(backbone, image, specs, box=box)
    mirrored = channel_centres(backbone, ImageOps.mirror(image), specs, box=mirrored_box)
    mirrored[..., 0] = width - mirrored[..., 0]
    # Resampling to 8 bits rounds differently in the two pictures, which can exchange two nearly equal maxima.
    distance = (found - mirrored).norm(dim=-1)
    assert torch.equal(found.isnan(), mirrored.isnan())
    assert float((distance[~distance.isnan()] < 0.01 * width).double().mean()) > 0.8
    if width == SIDE:
        np.testing.assert_allclose(found, mirrored, atol=1e-6)


# -- no centre, no spec -----------------------------------------------------------------------------------------------------------
def test_a_dead_channel_has_no_centre() -> None:
    network = symmetric_network()
    with torch.no_grad():
        network[3].weight[2] = 0
        network[3].bias[2] = -1
    backbone = Backbone(network, "4", Preprocessing(SIDE))
    found = channel_centres(backbone, picture(), [SPECS[0], SPECS[5]])
    assert torch.isnan(found[:, 2]).all()
    assert torch.isfinite(found[0, [0, 1, 3, 4]]).any()


def test_requests_that_make_no_sense_are_refused(backbone: Backbone) -> None:
    with pytest.raises(OptionError, match="at least one CentreSpec"):
        channel_centres(backbone, picture(), [])
    with pytest.raises(OptionError, match="no channel 5"):
        channel_centres(backbone, picture(), [CentreSpec()], channels=[5])
    with pytest.raises(OptionError, match="no channel 5"):
        channel_centres(backbone, picture(), [SPECS[5]], channels=[5])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"centre": "mixtures"}, "no centre 'mixtures'; choose one of 'mixture'"),
        ({"region": "bbox"}, "one of image, mask, crop, not 'bbox'"),
        ({"reduction": "l3"}, "no colour reduction 'l3'; choose one of 'l2', 'l1'"),
        ({"maps": "gradients"}, "no kind of maps 'gradients'; choose one of 'gradient'"),
        ({"quantile": 1.0}, r"must lie in \[0, 1\), not 1.0"),
        ({"quantile": math.nan}, "not nan"),
        ({"sigma": 0.0}, "sigma must be positive, not 0.0"),
        ({"sigma": math.nan}, "sigma must be positive, not nan"),
    ],
)
def test_settings_that_do_not_exist_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        CentreSpec(**options)


def test_the_options_are_those_of_the_method() -> None:
    assert CentreSpec(quantile=0.7).options == {"quantile": 0.7}
    assert CentreSpec(centre="centroid", quantile=0.7).options == {"quantile": 0.7}
    assert CentreSpec(centre="smoothed", sigma=2.0).options == {"sigma": 2.0}
    assert CentreSpec(centre="maximum").options == {}
    assert CentreSpec(**CentreSpec(region="mask").as_dict()) == CentreSpec(region="mask")
