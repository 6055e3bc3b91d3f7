from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import partscope.channel_centres
import partscope.scan
from networks import awkward_network, backbone_of
from partscope.backbones import Backbone
from partscope.channel_centres import CentreSpec, channel_centres
from partscope.dataset import PartDataset, Sample, dataset_from_arrays
from partscope.errors import DatasetError, ImageError, OptionError, PartscopeWarning, ScanError
from partscope.images import load_image
from partscope.scan import Scan, scan

SPECS = (CentreSpec(centre="maximum"), CentreSpec(centre="centroid", region="mask"))


def backbone() -> Backbone:
    return backbone_of(awkward_network(), "7")


def make_dataset(folder: Path, count: int = 10) -> PartDataset:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    files, boxes = [], []
    for i in range(count):
        files.append(folder / f"{i}.png")
        width, height = 20 + i, 30 - i
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(files[-1])
        boxes.append((2, 3, width - 6, height - 8))
    return dataset_from_arrays(files, {"beak": np.full((count, 2), 5.0)}, boxes=boxes, name="noise")


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


def assert_same(first: Scan, second: Scan) -> None:
    assert first.ids == second.ids
    np.testing.assert_array_equal(first.centres, second.centres)
    assert first.failures == second.failures


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


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


# -- finished blocks are not computed again -------------------------------------------------------------------------------
@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images whose centres are computed, as the test goes on."""
    names: list[str] = []
    compute = partscope.scan._centres_of

    def noted(sample: Sample, *args: Any) -> Any:
        names.append(sample.image.name)
        return compute(sample, *args)

    monkeypatch.setattr(partscope.scan, "_centres_of", noted)
    return names


def test_a_finished_scan_is_read_and_not_computed(
    dataset: PartDataset, tmp_path: Path, computed: list[str]
) -> None:
    first = scan(dataset, backbone(), SPECS, folder=tmp_path, block=4)
    assert len(computed) == 10
    before = contents(tmp_path)
    computed.clear()
    assert_same(scan(dataset, backbone(), SPECS, folder=tmp_path, block=4), first)
    assert computed == []
    assert contents(tmp_path) == before


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_damaged_block_alone_is_computed_again_with_a_warning(
    dataset: PartDataset, tmp_path: Path, computed: list[str], victim: int
) -> None:
    first = scan(dataset, backbone(), SPECS, folder=tmp_path, block=4)
    before = contents(tmp_path)
    file = tmp_path / f"block-{victim:06d}.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    computed.clear()
    with pytest.warns(PartscopeWarning, match=rf"{file.name}: the block is damaged .* computed again"):
        again = scan(dataset, backbone(), SPECS, folder=tmp_path, block=4)
    assert_same(again, first)
    assert computed == [f"{i}.png" for i in range(4 * victim, min(4 * victim + 4, 10))]
    assert contents(tmp_path) == before


# -- killed at any moment ---------------------------------------------------------------------------------------------------
class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def undisturbed(dataset: PartDataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    scan(dataset, backbone(), SPECS, folder=folder, block=3)
    return contents(folder)


def stopping_after(calls: int, function: Callable[..., Any], *, before: bool) -> Callable[..., Any]:
    count = 0

    def wrapped(*args: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == calls and before:
            raise Killed
        result = function(*args, **options)
        if count == calls:
            raise Killed
        return result

    return wrapped


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(
    ("where", "calls"),
    [
        *(("partscope.scan.load_image", n) for n in (1, 5)),
        *(("partscope.channel_centres.find_centres", n) for n in (9, 20)),
        ("partscope.atomic.os.open", 3),
        *(("partscope.atomic.os.fsync", n) for n in (1, 2)),
        *(("partscope.atomic.os.replace", n) for n in (1, 5)),
    ],
)
def test_a_scan_that_was_killed_continues_and_ends_with_the_same_bytes(
    dataset: PartDataset,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    calls: int,
    before: bool,
) -> None:
    module, _, name = where.rpartition(".")
    owner = os if module.endswith(".os") else sys.modules[module]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, stopping_after(calls, getattr(owner, name), before=before))
        with pytest.raises(Killed):
            scan(dataset, backbone(), SPECS, folder=tmp_path, block=3)
    kept = contents(tmp_path)
    assert all(undisturbed[file] == content for file, content in kept.items() if file[0] != ".")
    scan(dataset, backbone(), SPECS, folder=tmp_path, block=3)
    assert contents(tmp_path) == undisturbed


CHILD = """
import sys, time
from pathlib import Path
import partscope.scan
from test_scan import SPECS, backbone, make_dataset
compute = partscope.scan._centres_of
def slow(*args):
    time.sleep(0.05)
    return compute(*args)
partscope.scan._centres_of = slow
partscope.scan.scan(make_dataset(Path(sys.argv[1])), backbone(), SPECS, folder=sys.argv[2], block=2)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL on this system")
def test_a_process_that_is_killed_leaves_what_can_be_continued(tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "images"), str(folder)],
        cwd=Path(__file__).parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    end = time.monotonic() + 200
    while len(list(folder.glob("block-*"))) < 2:
        assert child.poll() is None, "the scan ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    half = contents(folder)
    assert 2 <= sum(name.startswith("block") for name in half) < 5
    (folder / ".partial-dead.safetensors").write_bytes(
        b"half"
    )  # as a kill in the middle of a write leaves it
    os.utime(folder / ".partial-dead.safetensors", (0, 0))
    data = make_dataset(tmp_path / "images")
    scan(data, backbone(), SPECS, folder=folder, block=2)
    scan(data, backbone(), SPECS, folder=tmp_path / "whole", block=2)
    assert contents(folder) == contents(tmp_path / "whole")


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


# -- the disk --------------------------------------------------------------------------------------------------------------------------
def test_a_full_disk_stops_the_scan_and_keeps_what_is_finished(
    dataset: PartDataset,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    computed: list[str],
) -> None:
    flush, calls = os.fsync, 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:  # the manifest and two blocks fit
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("partscope.atomic.os.fsync", full)
        with pytest.raises(
            ScanError, match=r"block-000002.*the disk is full; free some space.*finished is kept"
        ):
            scan(dataset, backbone(), SPECS, folder=tmp_path, block=3)
    assert sorted(contents(tmp_path)) == ["block-000000.safetensors", "block-000001.safetensors", "scan.json"]
    computed.clear()
    scan(dataset, backbone(), SPECS, folder=tmp_path, block=3)
    assert computed == ["6.png", "7.png", "8.png", "9.png"]
    assert contents(tmp_path) == undisturbed


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
