"""Layers that are combined where the user names none."""

from __future__ import annotations

import timm
import torchvision
from torch import nn

from partscope.backbones import Backbone, Preprocessing
from partscope.grid_layers import CHOSEN_CONTEXT, CHOSEN_LAYERS, default_layers
from partscope.grids import FeatureGrids


def around(network: nn.Module, name: str, size: int, layer: str) -> Backbone:
    return Backbone(network.eval(), layer, Preprocessing(size), name)


def test_blocks_of_torchvisions_transformer_at_two_thirds_and_at_the_end() -> None:
    network = torchvision.models.VisionTransformer(
        image_size=64, patch_size=16, num_layers=6, num_heads=2, hidden_dim=24, mlp_dim=48
    )
    backbone = around(network, "torchvision:vit", 64, "conv_proj")
    layers, context = default_layers(backbone)
    assert layers == ("encoder.layers.encoder_layer_3", "encoder.layers.encoder_layer_5")
    assert context == ()
    assert FeatureGrids(backbone, layers).shapes == [(24, 4, 4), (24, 4, 4)]


def test_attention_matrices_are_no_features_and_channels_may_come_last() -> None:
    network = timm.create_model(
        "swin_tiny_patch4_window7_224",
        pretrained=False,
        img_size=112,
        embed_dim=24,
        depths=(1, 1, 1),
        num_heads=(2, 2, 2),
    )
    backbone = around(network, "timm:swin", 112, "layers.1")
    layers, _ = default_layers(backbone)
    assert not any("attn" in layer or "drop" in layer for layer in layers)
    shapes = FeatureGrids(backbone, layers).shapes
    assert [rows for _, rows, _ in shapes] == [14, 7]
    assert all(channels >= 48 for channels, _, _ in shapes)


def test_a_convolutional_network_gives_the_widest_layers_of_its_two_coarsest_grids() -> None:
    backbone = around(torchvision.models.resnet18(weights=None), "torchvision:resnet18", 224, "layer4")
    layers, _ = default_layers(backbone)
    assert layers == ("layer3", "layer4")


def test_a_users_own_module_gives_its_layer_and_a_chosen_network_what_was_chosen() -> None:
    own = around(torchvision.models.resnet18(weights=None), "own", 224, "layer2")
    assert default_layers(own) == (("layer2",), ())
    chosen = around(nn.Sequential(nn.Conv2d(3, 4, 1)), "efficientnet_lite0", 32, "0")
    assert default_layers(chosen) == (
        CHOSEN_LAYERS["efficientnet_lite0"],
        CHOSEN_CONTEXT["efficientnet_lite0"],
    )
