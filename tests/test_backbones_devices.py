"""Devices and precisions: names, errors with their remedy, and what a precision does to a network's values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn

from networks import awkward_network, backbone_of, everything, picture, seeded
from partscope.backbones import get_backbone
from partscope.backbones.devices import Compute, choose_device, compute_settings, computing, set_compute
from partscope.centres import find_centres
from partscope.cli import main
from partscope.errors import OptionError
from partscope.grids import FeatureGrids
from partscope.maps import activation_maps, gradient_maps


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    before = compute_settings()
    yield
    set_compute(before.device, before.precision)


def cards(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_a_card_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, 2)
    assert choose_device() == torch.device("cuda", 0)
    assert choose_device("cuda") == torch.device("cuda", 0)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(OptionError, match="'cuda:2' is not to be had: there are 2 cards, numbered from 0"):
        choose_device("cuda:2")


def test_without_a_card_the_processor_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, 0)
    assert choose_device() == torch.device("cpu")
    with pytest.raises(OptionError, match="finds no CUDA card here; take cpu"):
        choose_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:", "CPU", "", "cpu:0"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(OptionError, match="choose auto, cpu, cuda, cuda:1 or mps"):
        choose_device(name)


def test_precisions_are_checked() -> None:
    with pytest.raises(OptionError, match="must be one of float32, tf32, bfloat16, not 'half'"):
        Compute("cpu", "half")
    with pytest.raises(OptionError, match="'tf32' is one of CUDA cards, and the device is cpu"):
        Compute("cpu", "tf32")


def test_tf32_holds_inside_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    for precision in ("tf32", "float32"):
        with computing(torch.device("cuda"), precision):
            assert torch.backends.cuda.matmul.allow_tf32 is torch.backends.cudnn.allow_tf32
            assert torch.backends.cudnn.allow_tf32 is (precision == "tf32")
        assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def test_bfloat16_changes_values_a_little_and_the_network_not_at_all() -> None:
    network = awkward_network().float()
    exact = backbone_of(network, "7")
    rough = replace(exact, precision="bfloat16")
    before = everything(network)
    inputs = picture(dtype=torch.float32)
    there, here = activation_maps(exact, inputs), activation_maps(rough, inputs)
    assert here.dtype == torch.float32
    assert not torch.equal(here, there)
    torch.testing.assert_close(here, there, rtol=0.05, atol=0.05 * float(there.max()))
    (grids,) = FeatureGrids(rough, ("7",))(inputs[None])
    torch.testing.assert_close(grids[0].clamp_min(0), here)
    assert everything(network) == before
    assert rough.content_hash == exact.content_hash


@pytest.mark.parametrize("engine", ["auto", "autograd"])
def test_centres_stay_where_they_are_in_bfloat16(engine: str) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(8, 6, 3), nn.ReLU()
    )
    exact = backbone_of(seeded(network), "4", side=32)
    inputs = picture(side=32, dtype=torch.float32)
    centres = []
    for backbone in (exact, replace(exact, precision="bfloat16")):
        maps = gradient_maps(backbone, inputs, engine=engine)
        assert maps.dtype == torch.float32
        centres.append(find_centres(maps, "centroid", quantile=0.0).points)
    assert not torch.equal(*centres)
    # A rectifier that flips takes its pixels' gradients with it, so single channels move further.
    assert float((centres[0] - centres[1]).norm(dim=1).median()) < 0.5  # pixels of 32


def test_named_networks_are_made_where_they_are_wanted() -> None:
    set_compute("cpu", "bfloat16")
    made = get_backbone("efficientnet_lite0", input_size=64)
    assert (made.device.type, made.precision) == ("cpu", "bfloat16")
    with pytest.raises(OptionError, match="no device 'gpu'"):
        get_backbone("efficientnet_lite0", device="gpu")


def test_the_command_line_refuses_what_is_not_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cards(monkeypatch, 0)
    assert main(["--device", "cuda:1", "backbones"]) == 2
    assert "PyTorch finds no CUDA card here; take cpu" in capsys.readouterr().err
    assert main(["--device", "cpu", "--precision", "exact", "backbones"]) == 2
    assert "the precision must be one of float32" in capsys.readouterr().err
    assert compute_settings().precision == "float32"
