"""The linear detector on networks of timm and torchvision with random weights: any grid of features will do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn

from drawn import drawn_dataset
from partscope.backbones import Backbone, Preprocessing
from partscope.backbones.registry import last_feature_layer
from partscope.dataset import PartDataset
from partscope.detectors import LinearDetector, PartDetector
from partscope.grid_layers import default_layers
from partscope.predictions import PartPredictions

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*are fewer than the"),
    pytest.mark.filterwarnings("ignore:.*will never be found"),
]

SIDE = 128


def timm_model(name: str, **options: object) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, pretrained=False, **options)


def torchvision_vit() -> nn.Module:
    return torchvision.models.VisionTransformer(
        image_size=SIDE, patch_size=16, num_layers=3, num_heads=2, hidden_dim=48, mlp_dim=96
    )


#: Name, how it is made, and the layer of a backbone around the module; None for its last feature map.
NETWORKS: list[tuple[str, Callable[[], nn.Module], str | None]] = [
    ("timm:vit_tiny_patch16_224", timm_model("vit_tiny_patch16_224", img_size=SIDE, depth=3), "blocks.2"),
    (
        "timm:deit_tiny_distilled_patch16_224",
        timm_model("deit_tiny_distilled_patch16_224", img_size=SIDE, depth=3),
        "blocks.2",
    ),
    (
        "timm:swin_tiny_patch4_window7_224",
        timm_model("swin_tiny_patch4_window7_224", img_size=SIDE, window_size=4, depths=(1, 1, 1, 1)),
        "layers.2",
    ),
    ("timm:resnet18", timm_model("resnet18"), None),
    ("timm:convnext_atto", timm_model("convnext_atto"), None),
    ("timm:mobilenetv3_small_100", timm_model("mobilenetv3_small_100"), None),
    ("torchvision:resnet18", lambda: torchvision.models.resnet18(weights=None), None),
    ("torchvision:mobilenet_v3_small", lambda: torchvision.models.mobilenet_v3_small(weights=None), None),
    ("torchvision:vit_b_16", torchvision_vit, "encoder.layers.encoder_layer_2"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return drawn_dataset(tmp_path_factory.mktemp("drawn"), 6)


def error(found: PartPredictions, data: PartDataset) -> float:
    distance = np.linalg.norm(found.points - data.points, axis=2)
    return float(np.nanmean(distance / np.linalg.norm(data.boxes[:, 2:], axis=1)[:, None]))


@pytest.fixture(scope="module")
def prior_error(data: PartDataset) -> float:
    return error(PartDetector("prior").fit(data).predict(data), data)


@pytest.mark.parametrize(("name", "make", "layer"), NETWORKS, ids=[name for name, _, _ in NETWORKS])
def test_it_learns_with_default_layers_and_around_a_module(
    data: PartDataset, prior_error: float, name: str, make: Callable[[], nn.Module], layer: str | None
) -> None:
    """Even random features tell parts of the images that were learned from from the rest."""
    torch.manual_seed(0)
    network = make().eval()
    chosen = layer or last_feature_layer(network, SIDE)
    for called in (name, "of my own"):
        backbone = Backbone(network, chosen, Preprocessing(SIDE), called)
        detector = LinearDetector(backbone, shrinkage=0.1, flips=False, arrangement="none").fit(data)
        layers, context = default_layers(backbone)
        assert (detector.grids_.layers, detector.grids_.context) == (layers, context)
        assert detector.statistics_.features == sum(channels for channels, _, _ in detector.grids_.shapes)
        rows, columns = detector.grids_.grid
        assert rows == columns
        found = detector.predict(data)
        assert error(found, data) < 0.7 * prior_error
        points = found.points[:, 0]
        assert np.ptp(points, axis=0).min() > 10, "the answer depends on the image"


def test_tokens_and_maps_of_different_grids_go_together(data: PartDataset, prior_error: float) -> None:
    """A transformer's patch embedding is a map, its blocks give tokens; a convolution's layers have three grids."""
    torch.manual_seed(0)
    vit = timm_model("deit_tiny_distilled_patch16_224", img_size=SIDE, depth=2)().eval()
    mixed = LinearDetector(
        Backbone(vit, "blocks.1", Preprocessing(SIDE)),
        layers=["patch_embed.proj", "blocks.1"],
        context=["blocks.1"],
        shrinkage=0.1,
        flips=False,
        arrangement="none",
    ).fit(data)
    assert mixed.grids_.shapes == [(192, 8, 8), (192, 8, 8)]
    assert mixed.statistics_.features == 192 * 10
    assert error(mixed.predict(data), data) < 0.7 * prior_error
    resnet = timm_model("resnet18")().eval()
    many = LinearDetector(
        Backbone(resnet, "layer4", Preprocessing(SIDE)),
        layers=["layer1", "layer3", "layer2"],
        context=["layer1"],
        shrinkage=0.3,
        flips=False,
        arrangement="none",
    ).fit(data)
    assert many.grids_.shapes == [(64, 32, 32), (256, 8, 8), (128, 16, 16)]
    assert many.grids_.grid == (32, 32)
    assert error(many.predict(data), data) < 0.7 * prior_error
