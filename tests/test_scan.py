"""A scan computes what one call per image does, lists what it cannot read, and keeps no map."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import partscope.channel_centres
import partscope.scan
from networks import awkward_network, backbone_of
from partscope.channel_centres import CentreSpec, channel_centres
from partscope.dataset import PartDataset
from partscope.errors import DatasetError, ImageError, OptionError, PartscopeWarning, ScanError
from partscope.images import load_image
from partscope.scan import scan
from scans import SPECS, assert_same, backbone, contents, make_dataset, note_computed


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return make_dataset(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def expected(dataset: PartDataset) -> np.ndarray:
    """Centres by one plain call per image."""
    rows = []
    for sample in dataset:
        found = channel_centres(backbone(), load_image(sample.image), SPECS, box=sample.box)
        rows.append(found.numpy())
    return np.array(rows)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return note_computed(monkeypatch)


# -- what it computes -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("block", "kept"), [(1, True), (3, True), (8, False), (100, True)])
def test_centres_are_those_of_each_image_whatever_the_blocks(
    dataset: PartDataset, expected: np.ndarray, tmp_path: Path, block: int, kept: bool
) -> None:
    found = scan(dataset, backbone(), SPECS, folder=tmp_path / "scan" if kept else None, block=block)
    assert found.centres.dtype == np.float32
    assert found.centres.shape == (10, 2, 5, 2)
    np.testing.assert_allclose(found.centres, expected, rtol=1e-6)
    assert found.ids == dataset.ids
    assert found.channels.tolist() == [0, 1, 2, 3, 4]
    assert found.failures == ()
    assert found.succeeded.tolist() == list(range(10))
    np.testing.assert_array_equal(found.of(SPECS[1]), found.centres[:, 1])
    if kept:
        blocks = sorted(name for name in contents(tmp_path / "scan") if name.startswith("block"))
        assert len(blocks) == -(-10 // block)
        again = scan(dataset, backbone(), SPECS, folder=tmp_path / "scan", block=block)
        assert_same(again, found)


def test_chosen_channels_come_in_their_order(dataset: PartDataset, expected: np.ndarray) -> None:
    found = scan(dataset, backbone(), SPECS, channels=[4, 0, 2])
    assert found.channels.tolist() == [4, 0, 2]
    np.testing.assert_allclose(found.centres, expected[:, :, [4, 0, 2]], rtol=1e-6)
    for channels in (np.array([4, 0, 2], dtype=np.int32), (4, 0, 2)):
        assert_same(scan(dataset, backbone(), SPECS, channels=channels), found)


def test_no_images_and_no_channels_give_empty_results(dataset: PartDataset, tmp_path: Path) -> None:
    nothing = scan(dataset[:0], backbone(), SPECS, folder=tmp_path)
    assert nothing.centres.shape == (0, 2, 5, 2)
    assert nothing.succeeded.shape == (0,)
    assert scan(dataset, backbone(), SPECS, channels=[]).centres.shape == (10, 2, 0, 2)


def test_the_bar_goes_to_standard_error_alone(
    dataset: PartDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    scan(dataset[:2], backbone(), SPECS, progress=True)
    assert capsys.readouterr().out == ""


# -- whose folder it is ---------------------------------------------------------------------------------------------------------
def test_a_folder_is_continued_only_by_the_same_scan(dataset: PartDataset, tmp_path: Path) -> None:
    scan(dataset[:2], backbone(), SPECS, folder=tmp_path, block=2)
    before = contents(tmp_path)
    other = backbone_of(awkward_network(1), "7")
    for arguments, options, named in (
        ((dataset[:2], other, SPECS), {}, "backbone"),
        ((dataset[:2], backbone_of(awkward_network(), "6"), SPECS), {}, "backbone"),
        ((dataset[:3], backbone(), SPECS), {}, "data set, images"),
        ((dataset[1:3], backbone(), SPECS), {}, "data set"),
        ((dataset[:2], backbone(), SPECS[:1]), {}, "centres"),
        ((dataset[:2], backbone(), SPECS), {"channels": [0, 1]}, "channels"),
        ((dataset[:2], backbone(), SPECS), {"block": 1}, "images per block"),
    ):
        with pytest.raises(ScanError, match=rf"something else \(differs in {named}\)"):
            scan(*arguments, folder=tmp_path, **{"block": 2, **options})
    assert contents(tmp_path) == before


# -- bad images --------------------------------------------------------------------------------------------------------------------
def test_bad_images_are_listed_and_tried_again(tmp_path: Path, computed: list[str]) -> None:
    data = make_dataset(tmp_path / "images", 7)
    good = scan(data, backbone(), SPECS, block=2)
    original = {i: data[i].image.read_bytes() for i in (1, 2, 5)}
    data[1].image.write_bytes(original[1][:100])
    data[2].image.unlink()
    Image.new("RGB", (9, 9)).save(data[5].image)
    computed.clear()
    found = scan(data, backbone(), SPECS, folder=tmp_path / "scan", block=2)
    assert computed == [f"{i}.png" for i in range(7)]
    assert [item.id for item in found.failures] == [data[i].id for i in (1, 2, 5)]
    for item, reason in zip(
        found.failures,
        ["1.png: .*truncated", "2.png: there is no such", "5.png: .*9×9 pixels where .* 25×25"],
        strict=True,
    ):
        with pytest.raises(AssertionError, match=reason):
            raise AssertionError(item.reason)
    assert found.succeeded.tolist() == [0, 3, 4, 6]
    assert np.isnan(found.centres[[1, 2, 5]]).all()
    np.testing.assert_array_equal(found.centres[[0, 3, 4, 6]], good.centres[[0, 3, 4, 6]])
    # Still broken: the same result and bytes. Only the blocks with failures are tried again.
    computed.clear()
    before = contents(tmp_path / "scan")
    assert_same(scan(data, backbone(), SPECS, folder=tmp_path / "scan", block=2), found)
    assert computed == ["0.png", "1.png", "2.png", "3.png", "4.png", "5.png"]
    assert contents(tmp_path / "scan") == before
    for i, content in original.items():
        data[i].image.write_bytes(content)
    assert_same(scan(data, backbone(), SPECS, folder=tmp_path / "scan", block=2), good)


def test_the_first_bad_image_stops_a_scan_that_is_to_raise(tmp_path: Path, computed: list[str]) -> None:
    data = make_dataset(tmp_path / "images", 6)
    content = data[3].image.read_bytes()
    data[3].image.write_bytes(b"nonsense")
    with pytest.raises(ImageError, match=r"3\.png: "):
        scan(data, backbone(), SPECS, folder=tmp_path / "scan", block=2, on_error="raise")
    assert computed == ["0.png", "1.png", "2.png", "3.png"]
    # What was finished is kept.
    data[3].image.write_bytes(content)
    computed.clear()
    scan(data, backbone(), SPECS, folder=tmp_path / "scan", block=2, on_error="raise")
    assert computed == ["2.png", "3.png", "4.png", "5.png"]


def test_an_image_without_a_needed_box_is_listed(dataset: PartDataset, expected: np.ndarray) -> None:
    samples = [sample.with_box(None) if i == 1 else sample for i, sample in enumerate(dataset[:3])]
    data = PartDataset(dataset.parts, tuple(samples), "some")
    found = scan(data, backbone(), SPECS)
    assert [item.id for item in found.failures] == [samples[1].id]
    assert "1.png: the region 'mask' needs a bounding box" in found.failures[0].reason
    np.testing.assert_allclose(found.centres[[0, 2]], expected[[0, 2]], rtol=1e-6)
    with pytest.raises(DatasetError, match=r"1\.png: the region 'mask' needs a bounding box"):
        scan(data, backbone(), SPECS, on_error="raise")
    assert scan(data, backbone(), SPECS[:1]).failures == ()


@pytest.mark.parametrize("region", ["mask", "crop"])
def test_boxes_over_the_border_are_clipped_and_counted(dataset: PartDataset, region: str) -> None:
    over = [sample.with_box((-3, -3, 13, 13)) for sample in dataset[:2]]
    inside = [sample.with_box((0, 0, 10, 10)) for sample in dataset[:2]]
    spec = CentreSpec(centre="maximum", region=region)
    data = PartDataset(dataset.parts, (*over, dataset[2]), "some")
    with pytest.warns(PartscopeWarning, match="some: 2 of 3 bounding boxes reached over .* clipped"):
        found = scan(data, backbone(), [spec])
    assert found.failures == ()
    expected = scan(PartDataset(dataset.parts, (*inside, dataset[2])), backbone(), [spec])
    np.testing.assert_array_equal(found.centres, expected.centres)


# -- memory ---------------------------------------------------------------------------------------------------------------------------
def test_no_map_is_kept(dataset: PartDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[int] = []
    maps_seen: list[weakref.ref[torch.Tensor]] = []
    find, load = partscope.channel_centres.find_centres, load_image

    def noted_find(maps: torch.Tensor, *args: Any, **options: Any) -> Any:
        maps_seen.append(weakref.ref(maps))
        return find(maps, *args, **options)

    def noted_load(path: Path) -> Image.Image:
        alive.append(sum(reference() is not None for reference in maps_seen))
        return load(path)

    monkeypatch.setattr(partscope.channel_centres, "find_centres", noted_find)
    monkeypatch.setattr(partscope.scan, "load_image", noted_load)
    scan(dataset, backbone(), SPECS)
    assert len(maps_seen) == 20
    assert alive == [0] * 10


# -- requests that make no sense -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"block": 0}, "at least 1 image, not 0"),
        ({"specs": ()}, "at least one way from a channel to a point"),
        ({"on_error": "ignore"}, "'raise' or 'skip', not 'ignore'"),
        ({"channels": [0, 5]}, "no channel 5; the layer has 5"),
        ({"channels": [-1]}, "no channel -1"),
        ({"channels": [0.5]}, "no channel 0.5"),
        ({"chunk": 0}, "chunk size must be at least 1"),
    ],
)
def test_wrong_options_are_refused(
    dataset: PartDataset, tmp_path: Path, computed: list[str], options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(OptionError, match=reason):
        scan(dataset, backbone(), folder=tmp_path / "scan", **options)
    assert len(computed) <= 1


def test_a_spec_that_was_not_scanned_is_refused(dataset: PartDataset) -> None:
    found = scan(dataset[:1], backbone(), SPECS)
    with pytest.raises(OptionError, match=r"does not hold CentreSpec\(centre='mixture'.*it holds CentreSpec"):
        found.of(CentreSpec())
