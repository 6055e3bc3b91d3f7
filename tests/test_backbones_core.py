from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from networks import SIDE, awkward_network, backbone_of, everything, picture, seeded
from partscope.backbones import Backbone, Preprocessing, feature_layers
from partscope.backbones.core import tensors_up_to
from partscope.errors import BackboneError


def test_what_it_is() -> None:
    backbone = backbone_of(awkward_network(), "6")
    assert (backbone.input_size, backbone.grid, backbone.channels) == (16, (5, 8, 8), 5)
    assert backbone.stride == 2.0
    assert (backbone.device, backbone.dtype) == (torch.device("cpu"), torch.float32)
    assert backbone.to("cpu") is backbone
    facts = backbone.describe()
    assert facts["name"] == "own"
    assert facts["layer"] == "6"
    assert facts["weights"] is None
    assert facts["preprocessing"] == Preprocessing(16).as_dict()
    assert facts["content_hash"] == backbone.content_hash


def test_activations_are_the_layers_output_in_evaluation_mode() -> None:
    network = awkward_network().train()
    x = picture(dtype=torch.float32)[None]
    found = backbone_of(network, "6").activations(x)
    torch.testing.assert_close(found, copy.deepcopy(network).eval()[:7](x.clone()))


def test_what_lies_behind_the_layer_is_not_run() -> None:
    class Never(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError("must not run")

    network = seeded(nn.Sequential(nn.Conv2d(3, 4, 1), Never()))
    assert backbone_of(network, "0").grid == (4, SIDE, SIDE)


def test_a_layer_that_is_called_twice_counts_at_its_first_call() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.conv(x))

    network, x = seeded(Twice()), picture(dtype=torch.float32)[None]
    torch.testing.assert_close(
        backbone_of(network, "conv").activations(x), nn.functional.conv2d(x, *network.conv.parameters())
    )


# -- layers that cannot serve ---------------------------------------------------------------------------------------------
def test_an_unknown_layer_is_answered_with_the_nearest_names() -> None:
    network = nn.ModuleDict({"features": nn.Conv2d(3, 4, 1), "head": nn.Conv2d(4, 4, 1)})
    with pytest.raises(BackboneError, match=r"no layer 'feature'; nearest names: 'features'"):
        backbone_of(network, "feature")
    with pytest.raises(BackboneError, match="no layer ''"):
        backbone_of(network, "")


class Folded(nn.Module):
    """Turns the picture into four smaller ones: windows, as some transformers do."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(4, 3, SIDE // 2, SIDE // 2)


class Listed(nn.Module):
    def forward(self, x: Tensor) -> list[Tensor]:
        return [x, x]


class Whole(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x > 0).long()


@pytest.mark.parametrize(
    ("module", "what"),
    [
        (nn.Flatten(), r"shape \(1, 768\)"),
        (nn.Flatten(2), r"shape \(1, 3, 256\)"),
        (Folded(), r"shape \(4, 3, 8, 8\)"),
        (Listed(), "of list"),
        (Whole(), r"shape \(1, 3, 16, 16\)"),
    ],
)
def test_a_layer_that_is_no_feature_map_is_refused(module: nn.Module, what: str) -> None:
    with pytest.raises(BackboneError, match=rf"layer '0' is no feature map.*{what}.*convolutional"):
        _ = backbone_of(nn.Sequential(module, nn.Identity()), "0").grid


def test_a_layer_that_is_never_reached_is_refused() -> None:
    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    with pytest.raises(BackboneError, match="does not reach the layer 'unused'"):
        _ = backbone_of(Aside(), "unused").channels


def test_a_network_that_fails_names_the_input() -> None:
    with pytest.raises(BackboneError, match=r"fails on an input of shape \(1, 3, 16, 16\).*input size"):
        _ = backbone_of(nn.Sequential(nn.Conv2d(1, 4, 1)), "0").grid
    with pytest.raises(BackboneError, match=r"fails on an input of 16×16 pixels.*input size"):
        feature_layers(nn.Sequential(nn.Conv2d(1, 4, 1)), 16)


# -- the content hash ---------------------------------------------------------------------------------------------------------
def reference() -> Backbone:
    return backbone_of(awkward_network(), "7")


def test_the_hash_is_that_of_the_content() -> None:
    known = reference().content_hash
    assert len(known) == 64
    assert reference().content_hash == known
    assert backbone_of(copy.deepcopy(reference().network), "7").content_hash == known
    assert backbone_of(awkward_network().train().requires_grad_(False), "7").content_hash == known
    formatted = awkward_network().to(memory_format=torch.channels_last)
    assert backbone_of(formatted, "7", channels_last=True, name="other").content_hash == known
    # In place or not is no difference in values.
    network = awkward_network()
    network[3] = nn.ReLU()
    assert backbone_of(network, "7").content_hash == known


def changed(index: int, module: nn.Module) -> nn.Module:
    network = awkward_network()
    if isinstance(module, nn.Conv2d):
        module.load_state_dict(network[index].state_dict())
    network[index] = module
    return network


def nudged(name: str) -> nn.Module:
    network = awkward_network()
    with torch.no_grad():
        tensor = dict(network.state_dict())[name].flatten()
        tensor[-1] = tensor[-1] + 1 if tensor.dtype == torch.long else tensor[-1].nextafter(torch.tensor(9.0))
    return network


@pytest.mark.parametrize(
    "name", ["1.weight", "1.bias", "2.running_mean", "2.num_batches_tracked", "9.weight"]
)
def test_a_single_bit_of_a_weight_changes_the_hash(name: str) -> None:
    assert backbone_of(nudged(name), "7").content_hash != reference().content_hash


@pytest.mark.parametrize(
    "network",
    [
        changed(1, nn.Conv2d(3, 6, 3, padding=1, stride=2)),
        changed(1, nn.Conv2d(3, 6, 3, padding=1, padding_mode="reflect")),
        changed(3, nn.LeakyReLU()),
        changed(3, nn.Identity()),
        changed(5, nn.MaxPool2d(2, ceil_mode=True)),
        changed(5, nn.AvgPool2d(2)),
        awkward_network().double(),
        awkward_network(1),
    ],
    ids=["stride", "padding", "slope", "identity", "ceil", "average", "double", "weights"],
)
def test_another_network_has_another_hash(network: nn.Module) -> None:
    assert backbone_of(network, "7").content_hash != reference().content_hash


def test_layer_and_preprocessing_change_the_hash() -> None:
    network, known = awkward_network(), reference().content_hash
    assert backbone_of(network, "6").content_hash != known
    for other in (
        Preprocessing(17),
        Preprocessing(16, mean=(0.5, 0.5, 0.5)),
        Preprocessing(16, std=(0.5, 0.5, 0.5)),
        Preprocessing(16, scale=1.0),
        Preprocessing(16, bgr=True),
        Preprocessing(16, interpolation="bicubic"),
    ):
        assert Backbone(network, "7", other).content_hash != known


def test_training_further_changes_the_hash_of_the_same_backbone() -> None:
    backbone = reference()
    known = backbone.content_hash
    with torch.no_grad():
        backbone.network[1].bias += 1
    assert backbone.content_hash != known


def test_a_buffer_that_is_not_saved_changes_the_hash() -> None:
    def with_buffer(value: float) -> Backbone:
        network = awkward_network()
        network.register_buffer("mean", torch.tensor([value]), persistent=False)
        return backbone_of(network, "7")

    assert with_buffer(1.0).content_hash == with_buffer(1.0).content_hash != with_buffer(2.0).content_hash


def test_the_hash_is_the_same_in_another_process() -> None:
    code = "from networks import awkward_network, backbone_of; print(backbone_of(awkward_network(), '7').content_hash)"
    # The seed of Python's string hashes, which order sets, is another one than here.
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == reference().content_hash


# -- listing layers -------------------------------------------------------------------------------------------------------
def test_feature_layers_are_listed_in_call_order_and_leave_no_trace() -> None:
    network = awkward_network().train()
    before = everything(network)
    listed = feature_layers(network, SIDE)
    assert listed[0] == ("0", (3, 16, 16))
    assert listed[-1] == ("7", (5, 8, 8))
    assert [name for name, _ in listed] == ["0", "1", "2", "3", "4", "5", "6", "7"]
    assert everything(network) == before
    assert feature_layers(awkward_network().double(), SIDE) == listed


def test_the_tensors_up_to_a_layer_leave_out_the_classifier() -> None:
    network = awkward_network().double().train()
    network[1].weight.requires_grad_(False)
    before = everything(network)
    own = {f"2.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")}
    assert tensors_up_to(backbone_of(network, "6")) == {"1.weight", "1.bias", "6.weight", "6.bias"} | own
    assert everything(network) == before
    assert tensors_up_to(backbone_of(network, "0")) == set()


def test_parameters_that_are_read_without_a_call_count_too() -> None:
    class Bypassing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.unused, self.out = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.out(nn.functional.conv2d(x, self.conv.weight, self.conv.bias))

    network = seeded(Bypassing()).requires_grad_(False)
    before = everything(network)
    with torch.inference_mode():
        assert tensors_up_to(backbone_of(network, "out")) == {"conv.weight", "conv.bias"}
    assert everything(network) == before


# -- a user's own module ----------------------------------------------------------------------------------------------------
def test_a_users_module_with_its_preprocessing_is_a_backbone() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.GELU())
            self.head = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.stem(x).mean(dim=(2, 3)))

    backbone = Backbone(seeded(Own()), "stem", Preprocessing(32, mean=(0, 0, 0), std=(1, 1, 1)), name="mine")
    assert backbone.grid == (8, 8, 8)
    image = Image.new("RGB", (50, 20), (255, 0, 51))
    inputs = backbone.preprocessing(image)
    assert inputs[:, 0, 0].tolist() == pytest.approx([1.0, 0.0, 0.2])
    assert backbone.activations(inputs[None]).shape == (1, 8, 8, 8)
