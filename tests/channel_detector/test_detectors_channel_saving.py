"""The channel detector's model files: whose network it is and where its weights come from."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from colour_network import colour_network, colours, quick
from partscope.backbones import NETWORKS, Backbone, Preprocessing
from partscope.backbones.registry import NetworkEntry
from partscope.dataset import PartDataset
from partscope.detectors import ChannelDetector, PartDetector
from partscope.errors import BackboneError, ModelFileError, PartscopeWarning

pytestmark = pytest.mark.filterwarnings("ignore:.*will never be found")


def test_an_own_network_is_not_saved_and_its_content_is_checked(
    detector: ChannelDetector, test: PartDataset, tmp_path: Path
) -> None:
    file = tmp_path / "model"
    detector.save(file)
    with pytest.raises(ModelFileError, match=r"model: .*own network \(colours\).*load\(path, backbone=…\)"):
        PartDetector.load(file)
    network = colour_network()
    with torch.no_grad():
        network[0].bias[0] += 1e-6
    wrong = {
        "weights": Backbone(network, "1", colours().preprocessing),
        "layer": Backbone(colour_network(), "0", colours().preprocessing),
        "size": Backbone(colour_network(), "1", colours().preprocessing.with_size(64)),
    }
    for backbone in wrong.values():
        with pytest.raises(
            ModelFileError, match=r"model: .*made with another backbone than own.*content hash"
        ):
            PartDetector.load(file, backbone=backbone)
    loaded = PartDetector.load(file, backbone=colours())
    assert isinstance(loaded, ChannelDetector)
    assert loaded.channels_ == detector.channels_
    assert loaded.spec_ == detector.spec_
    assert loaded.train_ids_ == detector.train_ids_
    for name in ("channels", "cost", "order", "missing", "images"):
        np.testing.assert_array_equal(getattr(loaded.ranking_, name), getattr(detector.ranking_, name))
    expected, found = detector.predict(test), loaded.predict(test)
    np.testing.assert_array_equal(found.points, expected.points)
    np.testing.assert_array_equal(found.score, expected.score)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == file.read_bytes()


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    def build() -> tuple[nn.Module, dict[str, torch.Tensor]]:
        return colour_network(), colour_network().state_dict()

    entry = NetworkEntry(build, "1", colours().preprocessing, "for tests", cut=0.8)
    monkeypatch.setitem(NETWORKS, "colours", entry)


@pytest.mark.usefixtures("registered")
def test_a_network_of_the_registry_is_made_again(
    train: PartDataset, test: PartDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = ChannelDetector("colours", input_size=64, centre="maximum").fit(train)
    assert (detector.backbone_.name, detector.backbone_.input_size, detector.spec_.quantile) == (
        "colours",
        64,
        0.8,
    )
    detector.save(tmp_path / "model")
    np.testing.assert_array_equal(
        PartDetector.load(tmp_path / "model").predict(test).points, detector.predict(test).points
    )
    # Another version's defaults do not change a model that was fitted with these.
    monkeypatch.setitem(NETWORKS, "colours", dataclasses.replace(NETWORKS["colours"], layer="0", cut=0.5))
    loaded = PartDetector.load(tmp_path / "model")
    assert (loaded.backbone_.layer, loaded.spec_.quantile) == ("1", 0.8)
    np.testing.assert_array_equal(loaded.predict(test).points, detector.predict(test).points)
    # Another version's weights do.
    monkeypatch.setitem(
        NETWORKS,
        "colours",
        dataclasses.replace(
            NETWORKS["colours"],
            build=lambda: (colour_network(), nn.Sequential(nn.Conv2d(3, 6, 1)).state_dict()),
        ),
    )
    with pytest.raises(ModelFileError, match="made with another backbone than colours"):
        PartDetector.load(tmp_path / "model")
    monkeypatch.delitem(NETWORKS, "colours")
    with pytest.raises(
        BackboneError, match=r"model: the model's backbone cannot be made again: .*no backbone 'colours'"
    ):
        PartDetector.load(tmp_path / "model")


@pytest.mark.usefixtures("registered")
def test_a_model_of_the_registry_takes_the_same_network_as_an_object(
    train: PartDataset, tmp_path: Path
) -> None:
    ChannelDetector("colours", input_size=64, layer="1", centre="maximum").fit(train).save(tmp_path / "model")
    backbone = Backbone(colour_network(), "1", colours().preprocessing.with_size(64))
    loaded = PartDetector.load(tmp_path / "model", backbone=backbone)
    assert loaded.backbone_ is backbone
    clone(loaded).fit(train)  # its parameters fit together


def test_weights_of_a_hub_are_announced_before_they_are_fetched(
    train: PartDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(name: str, *, pretrained: bool) -> tuple[nn.Module, Preprocessing]:
        fetched.append((name, pretrained))
        return colour_network(), colours().preprocessing

    fetched: list[tuple[str, bool]] = []
    monkeypatch.setattr("partscope.backbones.registry.timm_network", fetch)
    ChannelDetector("timm:small", layer="1", centre="maximum").fit(train).save(tmp_path / "model")
    with pytest.warns(PartscopeWarning, match=r"model: the weights of timm:small are fetched .*backbone=…"):
        PartDetector.load(tmp_path / "model")
    assert fetched == [("small", True)] * 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PartDetector.load(tmp_path / "model", backbone=colours())
    assert len(fetched) == 2, "a network that is given is not fetched"


def test_weights_of_a_file_are_looked_for_where_they_were(
    train: PartDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = NetworkEntry(lambda: (colour_network(), None), "1", colours().preprocessing, "for tests")
    monkeypatch.setitem(NETWORKS, "colours", entry)
    torch.save(colour_network().state_dict(), tmp_path / "w.pt")
    ChannelDetector("colours", weights=tmp_path / "w.pt", centre="maximum").fit(train).save(
        tmp_path / "model"
    )
    assert PartDetector.load(tmp_path / "model").backbone_.weights == str((tmp_path / "w.pt").resolve())
    (tmp_path / "w.pt").unlink()
    with pytest.raises(
        BackboneError, match=r"model: .*cannot be made again: .*w\.pt: there is no such weights file"
    ):
        PartDetector.load(tmp_path / "model")
    assert isinstance(PartDetector.load(tmp_path / "model", backbone=colours()), ChannelDetector)


@pytest.mark.parametrize("numbers", [[0, 99, 2], [-1, 1, 2], []])
def test_a_model_of_channels_that_do_not_exist_is_refused(
    train: PartDataset, tmp_path: Path, numbers: list[int]
) -> None:
    detector = quick().fit(train)
    columns = len(numbers)
    detector.ranking_ = dataclasses.replace(
        detector.ranking_,
        channels=np.array(numbers, dtype=np.int64),
        cost=np.ones((5, columns)),
        missing=np.zeros((5, columns), dtype=np.int64),
    )
    detector.save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="names channels that the layer does not have"):
        PartDetector.load(tmp_path / "model", backbone=colours())
