"""Searches over the images of a data set: the forward pass, the cells that are kept, continuing after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from torch import nn

import partscope.search.network
from networks import awkward_network, backbone_of, picture, seeded
from partscope.backbones import Backbone, Preprocessing
from partscope.centres import CENTRES
from partscope.channel_centres import CentreSpec, channel_centres
from partscope.dataset import PartDataset, dataset_from_arrays
from partscope.engine import use_engine
from partscope.errors import DatasetError, ImageError, OptionError, PartscopeWarning, ScanError
from partscope.images import load_image
from partscope.maps import gradient_maps
from partscope.scan import scan
from partscope.search import screen, search_channels, silent_channels
from partscope.search.cell_store import CellStore
from partscope.selection import rank_channels

SPEC = CentreSpec(centre="maximum")
CHANNELS = 24


def network(channels: int = CHANNELS) -> Backbone:
    """Many channels behind a rectifier; some of them are often silent, and the fourth always."""
    layers = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    seeded(layers, 3)
    with torch.no_grad():
        layers[0].bias.copy_(torch.linspace(-2.5, 0.5, channels))
        layers[0].bias[3] = -1000.0
    return Backbone(layers, "2", Preprocessing(16))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    files, points = [], []
    for i in range(26):
        pixels = rng.integers(100, 156, (20, 24, 3), dtype=np.uint8)
        x, y = rng.integers(3, 21), rng.integers(3, 17)
        pixels[y - 2 : y + 3, x - 2 : x + 3] = (255, 0, 0)
        pixels[18:, :4] = (0, 0, 255)
        files.append(folder / f"{i}.png")
        Image.fromarray(pixels).save(files[-1])
        points.append([(x + 0.5, y + 0.5), (2.0, 19.0)])
    marks = np.array(points, dtype=float)
    return dataset_from_arrays(
        files, {"head": marks[:, 0], "foot": marks[:, 1]}, boxes=[(1, 1, 22, 18)] * 26, name="squares"
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


# -- channels without a gradient ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(4))
def test_silent_channels_have_no_gradient_and_no_centre(data: PartDataset, seed: int) -> None:
    backbone = network()
    image = load_image(data[seed].image)
    inputs = backbone.preprocessing(image)
    activations, silent = silent_channels(backbone, inputs)
    maps = gradient_maps(backbone, inputs)
    assert silent.any()
    assert_array_equal(silent, (maps == 0).all(dim=2).all(dim=1).numpy())
    assert_allclose(activations.numpy(), backbone.activations(inputs[None])[0].detach().numpy())
    for centre in CENTRES:
        found = channel_centres(backbone, image, [CentreSpec(centre=centre)])[0]
        assert torch.isnan(found[torch.from_numpy(silent)]).all()


def test_a_channel_that_is_the_same_everywhere_but_has_a_gradient_is_not_silent() -> None:
    pooled = seeded(nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Upsample(scale_factor=3)))
    backbone = backbone_of(pooled, "2")
    activations, silent = silent_channels(backbone, picture(dtype=torch.float32))
    assert (activations == activations[:, :1, :1]).all()
    assert not silent.any()


def test_a_layer_that_does_not_depend_on_the_input_is_silent_altogether() -> None:
    class Constant(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.ones(len(x), 4, 2, 2)

    _, silent = silent_channels(backbone_of(nn.Sequential(Constant()), "0"), picture(dtype=torch.float32))
    assert silent.all()


def test_the_screening_is_one_forward_pass(data: PartDataset, tmp_path: Path) -> None:
    backbone = backbone_of(awkward_network(), "7")
    for region in ("image", "mask", "crop"):
        screening = screen(data[:3], backbone, region, folder=tmp_path / region)
        expected = scan(data[:3], backbone, [CentreSpec("centroid", region, quantile=0.0, maps="activation")])
        assert_allclose(screening.centres, expected.centres[:, 0], rtol=1e-5)
        again = screen(data[:3], backbone, region, folder=tmp_path / region)
        assert_array_equal(again.centres, screening.centres)
        assert_array_equal(again.silent, screening.silent)


# -- the same answer as the exhaustive search -----------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["bounded", "racing"])
@pytest.mark.parametrize("region", ["image", "mask", "crop"])
def test_searches_find_what_the_exhaustive_one_does(data: PartDataset, method: str, region: str) -> None:
    spec = CentreSpec(centre="maximum", region=region)
    expected = rank_channels(scan(data, network(), [spec]).of(spec), data)
    found = search_channels(data, network(), spec, method)
    assert_array_equal(found.ranking.best, expected.best)
    exact = found.ranking.exact
    assert_allclose(found.ranking.cost[:, exact], expected.cost[:, exact], rtol=1e-5)
    assert found.search is not None
    assert found.computed == found.search.maps < found.search.exhaustive_maps
    assert found.failures == ()


# -- one folder for all ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["bounded", "racing"])
def test_a_killed_search_goes_on_and_ends_with_the_same_bytes(
    data: PartDataset, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = search_channels(data, network(), SPEC, method, folder=tmp_path / "whole")
    files = len(list((tmp_path / "whole" / "centres").glob("cells-*")))
    assert files > 4
    compute = partscope.search.network.channel_centres
    calls: list[int] = []

    def dies(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) % 9 == 0:
            raise KeyboardInterrupt
        return compute(*args, **options)

    monkeypatch.setattr("partscope.search.network.channel_centres", dies)
    for _ in range(200):
        try:
            found = search_channels(data, network(), SPEC, method, folder=tmp_path / "killed")
            break
        except KeyboardInterrupt:
            continue
    assert len(calls) > 9
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert found.search == whole.search
    assert_array_equal(found.ranking.cost, whole.ranking.cost)
    assert found.computed < whole.computed


def test_searches_share_what_they_have_looked_at(data: PartDataset, tmp_path: Path) -> None:
    first = search_channels(data, network(), SPEC, "racing", folder=tmp_path)
    second = search_channels(data, network(), SPEC, "bounded", folder=tmp_path)
    assert second.search is not None
    assert second.computed < second.search.maps
    alone = search_channels(data, network(), SPEC, "bounded", folder=tmp_path / "of its own")
    assert alone.search is not None
    assert alone.computed == alone.search.maps == second.search.maps
    again = search_channels(data, network(), SPEC, "racing", folder=tmp_path)
    assert again.computed == 0
    assert again.search == first.search


def test_an_exhaustive_scan_in_the_folder_is_used(data: PartDataset, tmp_path: Path) -> None:
    specs = (SPEC, CentreSpec("centroid"))
    scan(data, network(), specs, folder=tmp_path / "centres")
    for spec in specs:
        found = search_channels(data, network(), spec, "bounded", shared=specs, folder=tmp_path)
        assert found.computed == 0
    with pytest.raises(ScanError, match="differs in centres"):
        search_channels(data, network(), SPEC, "bounded", folder=tmp_path)


def test_damaged_cells_are_computed_again(data: PartDataset, tmp_path: Path) -> None:
    first = search_channels(data, network(), SPEC, "bounded", folder=tmp_path)
    before = contents(tmp_path)
    file = tmp_path / "centres" / "cells-000001.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.warns(
        PartscopeWarning, match=r"cells-000001\.safetensors: the cells are damaged .* computed again"
    ):
        second = search_channels(data, network(), SPEC, "bounded", folder=tmp_path)
    assert_array_equal(second.ranking.cost, first.ranking.cost)
    assert 0 < second.computed < first.computed
    assert contents(tmp_path) == before


def test_cells_that_the_scan_does_not_have_are_not_taken(tmp_path: Path) -> None:
    store = CellStore(tmp_path, {"images": 2})
    store.write_cells(np.array([[1, 5]], dtype=np.int32), np.zeros((1, 1, 2), dtype=np.float32))
    assert len(store.read_cells((2, 6, 1))) == 1
    with pytest.warns(PartscopeWarning, match="cells that the scan does not have"):
        assert store.read_cells((2, 5, 1)) == []


# -- bad input -------------------------------------------------------------------------------------------------------------------------
def test_unreadable_images_are_listed_or_stop_the_search(data: PartDataset, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    files = [broken, *(sample.image for sample in data)]
    points = np.concatenate([[[[1.0, 1.0]] * 2], data.points])
    mixed = dataset_from_arrays(
        files, {"head": points[:, 0], "foot": points[:, 1]}, sizes=[(24, 20)] * 27, name="mixed"
    )
    with pytest.raises(ImageError, match=r"broken\.png"):
        search_channels(mixed, network(), SPEC, "bounded")
    found = search_channels(mixed, network(), SPEC, "bounded", on_error="skip", normalise="image")
    assert [item.id for item in found.failures] == [mixed[0].id]
    expected = search_channels(mixed[1:], network(), SPEC, "bounded", normalise="image")
    assert_array_equal(found.ranking.cost, expected.ranking.cost)
    with pytest.raises(DatasetError, match="not one training image could be read"):
        search_channels(mixed[:1], network(), SPEC, "bounded", on_error="skip")


def test_activations_need_no_search(data: PartDataset) -> None:
    with pytest.raises(OptionError, match="cost one pass"):
        search_channels(data, network(), CentreSpec("centroid", maps="activation"), "bounded")


def test_searches_run_in_one_process(data: PartDataset) -> None:
    with (
        use_engine(shard="1/2"),
        pytest.raises(OptionError, match="runs in one process; use search='exhaustive'"),
    ):
        search_channels(data, network(), SPEC, "racing")
