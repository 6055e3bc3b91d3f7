from __future__ import annotations

from http.client import IncompleteRead
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file, save_file

from networks import seeded
from partscope.backbones import DEFAULT_BACKBONE, NETWORKS, get_backbone
from partscope.backbones.caffenet import caffenet
from partscope.backbones.registry import last_feature_layer
from partscope.errors import BackboneError, OptionError
from partscope.maps import gradient_maps

#: Small members of the two hubs.
TORCHVISION, TIMM = "squeezenet1_1", "test_resnet"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    networks = {
        f"torchvision:{TORCHVISION}": torchvision.models.get_model(TORCHVISION, weights=None),
        f"timm:{TIMM}": timm.create_model(TIMM, pretrained=False),
        "caffenet": caffenet(),
    }
    result = {}
    for name, network in networks.items():
        result[name] = folder / f"{name.replace(':', '_')}.safetensors"
        state = {key: value.contiguous() for key, value in seeded(network).state_dict().items()}
        save_file(state, result[name])
    return result


# -- names ---------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "near"),
    [("squeezenet", "squeezenet1_1"), ("efficientnet-lite0", "efficientnet_lite0"), ("cafenet", "caffenet")],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(
        BackboneError, match=f"no backbone '{name}'; nearest names: '{near}'.*torchvision:<name>"
    ):
        get_backbone(name)


@pytest.mark.parametrize("name", ["", "torchvision:", "timm:", "keras:resnet50", "torchvision"])
def test_a_source_without_a_name_is_no_backbone(name: str) -> None:
    with pytest.raises(BackboneError, match=f"no backbone '{name}'"):
        get_backbone(name)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("torchvision:resnet51", "resnet50"),
        ("timm:resnet51", "resnet51q"),
        ("timm:tf_efficientnet_lite9", "tf_efficientnet_lite"),
    ],
)
def test_an_unknown_name_of_a_hub_is_answered_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(
        BackboneError, match=f"has no network '{name.split(':')[1]}'; nearest names: .*{near}"
    ):
        get_backbone(name)


def test_every_entry_has_a_layer_of_its_network() -> None:
    assert DEFAULT_BACKBONE in NETWORKS
    for entry in NETWORKS.values():
        assert entry.summary
        assert entry.preprocessing.input_size >= 64


# -- weights from a file ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [f"torchvision:{TORCHVISION}", f"timm:{TIMM}", "caffenet"])
def test_a_network_with_weights_from_a_file(files: dict[str, Path], name: str) -> None:
    backbone = get_backbone(name, weights=files[name], input_size=96)
    assert backbone.name == name
    assert backbone.input_size == 96
    assert backbone.weights == str(files[name].resolve())
    assert not any(module.training for module in backbone.network.modules())
    own, stored = backbone.network.state_dict(), load_file(files[name])
    assert all(torch.equal(own[key], stored[key]) for key in own)
    channels, rows, _ = backbone.grid
    assert (channels, rows) == (backbone.channels, backbone.grid[2])
    inputs = backbone.preprocessing(Image.new("RGB", (60, 40), (200, 100, 50)))
    assert gradient_maps(backbone, inputs, [0, channels - 1]).shape == (2, 96, 96)
    assert get_backbone(name, weights=files[name], input_size=96).content_hash == backbone.content_hash
    assert get_backbone(name, weights=files[name], input_size=128).content_hash != backbone.content_hash


def test_the_hubs_own_preprocessing_is_taken(files: dict[str, Path]) -> None:
    found = get_backbone(
        f"torchvision:{TORCHVISION}", weights=files[f"torchvision:{TORCHVISION}"]
    ).preprocessing
    assert (found.input_size, found.mean, found.std) == (224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    found = get_backbone(f"timm:{TIMM}", weights=files[f"timm:{TIMM}"]).preprocessing
    config = timm.create_model(TIMM).default_cfg
    assert (found.input_size, found.mean, found.std) == (
        config["input_size"][-1],
        config["mean"],
        config["std"],
    )


def test_the_layer_of_a_hubs_network_is_its_last_map_or_the_one_that_is_asked_for(
    files: dict[str, Path],
) -> None:
    name = f"torchvision:{TORCHVISION}"
    last = get_backbone(name, weights=files[name], input_size=96)
    assert (last.layer, last.grid) == ("classifier.2", (1000, 5, 5))
    asked = get_backbone(name, weights=files[name], input_size=96, layer="features.7.squeeze")
    assert (asked.layer, asked.grid) == ("features.7.squeeze", (32, 11, 11))
    with pytest.raises(BackboneError, match=r"no layer 'features\.99'; nearest names: 'features\.9"):
        get_backbone(name, weights=files[name], input_size=96, layer="features.99")
    name = f"timm:{TIMM}"
    with pytest.raises(BackboneError, match="'fc' is no feature map"):
        _ = get_backbone(name, weights=files[name], layer="fc", input_size=96).grid


def test_a_file_of_another_network_is_refused(files: dict[str, Path]) -> None:
    with pytest.raises(
        BackboneError,
        match=r"caffenet\.safetensors: the tensor .* is missing; .*'conv1\.bias'.*another network",
    ):
        get_backbone(f"torchvision:{TORCHVISION}", weights=files["caffenet"], input_size=96)


def test_caffenet_needs_a_file() -> None:
    with pytest.raises(
        BackboneError, match=r"caffenet: no weights come with this network; .*weights=FILE \(--weights FILE\)"
    ):
        get_backbone("caffenet")


def test_a_file_takes_the_place_of_embedded_weights(files: dict[str, Path], tmp_path: Path) -> None:
    embedded = get_backbone("efficientnet_lite0")
    state = {key: value.clone() for key, value in embedded.network.state_dict().items()}
    state["conv_stem.weight"] *= 2
    del state["classifier.weight"], state["classifier.bias"]
    torch.save({"state_dict": state}, tmp_path / "trained.pt")
    own = get_backbone("efficientnet_lite0", weights=tmp_path / "trained.pt")
    assert torch.equal(own.network.conv_stem.weight, 2 * embedded.network.conv_stem.weight)
    assert own.content_hash != embedded.content_hash
    assert embedded.weights is None


def test_an_input_size_out_of_range_is_refused() -> None:
    with pytest.raises(OptionError, match="between 16 and 4096 pixels, not 8"):
        get_backbone("efficientnet_lite0", input_size=8)


def test_an_input_size_that_the_network_cannot_take_is_named(files: dict[str, Path]) -> None:
    with pytest.raises(BackboneError, match="input size"):
        get_backbone("caffenet", weights=files["caffenet"], input_size=16)


def test_a_network_without_a_large_enough_map_is_refused() -> None:
    with pytest.raises(BackboneError, match="no layer with a feature map"):
        last_feature_layer(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2)), 32)


# -- hubs that cannot be reached ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "error",
    [
        URLError("Name or service not known"),
        OSError(101, "Network is unreachable"),
        RuntimeError("invalid hash value"),
        IncompleteRead(b"", 10),
    ],
    ids=["url", "os", "hash", "broken off"],
)
def test_a_hub_that_cannot_be_reached_is_said_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    monkeypatch.setattr("timm.models._builder.load_pretrained", fail)
    for name in (f"torchvision:{TORCHVISION}", f"timm:{TIMM}"):
        with pytest.raises(
            BackboneError, match=rf"^{name}: the pretrained weights could not be fetched \(.*weights=FILE"
        ):
            get_backbone(name)


def test_the_hubs_own_weights_are_taken_when_they_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    state = seeded(torchvision.models.get_model(TORCHVISION, weights=None), 5).state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *args, **options: state)
    backbone = get_backbone(f"torchvision:{TORCHVISION}", input_size=96)
    assert all(torch.equal(value, state[key]) for key, value in backbone.network.state_dict().items())
    assert backbone.weights is None
