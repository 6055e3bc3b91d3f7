"""Vectors of many views: the same as one at a time, in order, cached, and with every failure counted."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import nn

from engines import Backwards
from networks import seeded
from partscope.backbones import Embedder, Preprocessing
from partscope.detectors.queries import Query
from partscope.errors import DatasetError, EngineError, ImageError, OptionError, PartscopeError
from partscope.extraction import Extracted, Views, extract, images_per_block
from partscope.extraction import blocks as extraction
from partscope.feature_cache import FeatureCache

SIDE, WIDTH, HEIGHT = 16, 60, 40
MISSING = [np.nan] * 4


class Counted(nn.Module):
    """A small network that notes the size of every batch, and can be told to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.head = nn.Linear(8, 4)
        self.batches: list[int] = []
        self.fail_at: int | None = None
        self.error: type[BaseException] = KeyboardInterrupt

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(inputs))
        if len(self.batches) == self.fail_at:
            raise self.error
        return self.head(self.body(inputs))  # type: ignore[no-any-return]


def embedder(**options: Any) -> tuple[Embedder, Counted]:
    network = Counted()
    seeded(network)
    made = Embedder(network, "head:input", Preprocessing(SIDE, **options))
    assert made.dimension == 8
    network.batches.clear()
    return made, network


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(3)
    paths = []
    for i in range(7):
        low = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(low).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(paths[-1])
    return paths


def views_of(paths: list[Path], count: int = 4, seed: int = 0, **options: Any) -> list[Views]:
    rng = np.random.default_rng(seed)
    result = []
    for path in paths:
        low = rng.uniform(0, 20, (count, 2))
        boxes = np.concatenate([low, rng.uniform(5, 19, (count, 2))], axis=1)
        result.append(Views(Query(path.name, path, size=(WIDTH, HEIGHT)), boxes, **options))
    return result


def one_at_a_time(views: list[Views], made: Embedder) -> np.ndarray:
    rows = []
    for item in views:
        image = item.query.open()
        for box in item.boxes:
            inputs = made.preprocessing(image, tuple(box))[None]
            rows.append(made(inputs.flip(-1) if item.mirrored else inputs).numpy()[0])
    return np.array(rows).reshape(len(views), -1, made.dimension)


# -- the vectors -----------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("options", [{}, {"bgr": True, "scale": 1.0, "std": (1.0, 1.0, 1.0)}])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_vectors_are_those_of_one_view_at_a_time(
    files: list[Path], options: dict[str, Any], mirrored: bool, batch_size: int
) -> None:
    made, network = embedder(**options)
    views = views_of(files, mirrored=mirrored)
    result = extract(views, made, batch_size=batch_size)
    total = 4 * len(files)
    assert network.batches == [batch_size] * (total // batch_size) + [total % batch_size] * bool(
        total % batch_size
    )
    assert result.features.dtype == np.float32
    assert result.features.shape == (7, 4, 8)
    assert result.kept.tolist() == list(range(7))
    assert result.failures == ()
    expected = one_at_a_time(views, made)
    np.testing.assert_allclose(result.features, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_the_same_call_gives_the_same_bytes_whatever_the_threads(files: list[Path]) -> None:
    made, _ = embedder()
    views = views_of(files)
    first = extract(views, made, batch_size=6, workers=1)
    assert np.array_equal(first.features, extract(views, made, batch_size=6, workers=4).features)


def test_mirrored_views_are_the_mirrored_images_views(files: list[Path], tmp_path: Path) -> None:
    made, _ = embedder()
    views = views_of(files[:1], mirrored=True)
    flipped = ImageOps.mirror(Image.open(files[0]))
    boxes = views[0].boxes.copy()
    boxes[:, 0] = WIDTH - boxes[:, 0] - boxes[:, 2]
    direct = extract([Views(Query("flipped", flipped), boxes)], made).features
    # Resampling rounds to whole 8-bit values, from the other side here.
    np.testing.assert_allclose(extract(views, made).features, direct, atol=0.02)


def test_missing_views_give_zeros_and_cost_nothing(files: list[Path]) -> None:
    made, network = embedder()
    views = views_of(files)
    for i, item in enumerate(views):
        item.boxes[i % 4] = MISSING
    views[5].boxes[:] = MISSING
    result = extract(views, made)
    assert sum(network.batches) == 6 * 3
    empty = np.array([[np.isnan(box).all() for box in item.boxes] for item in views])
    assert np.array_equal((result.features == 0).all(axis=2), empty)


def test_equal_boxes_of_an_image_are_computed_once(files: list[Path]) -> None:
    made, network = embedder()
    views = views_of(files[:2])
    for item in views:
        item.boxes[2] = item.boxes[0]
    result = extract(views, made)
    assert network.batches == [6]
    assert np.array_equal(result.features[:, 2], result.features[:, 0])
    assert not np.allclose(result.features[:, 1], result.features[:, 0])


def test_no_images_and_no_views(files: list[Path]) -> None:
    made, network = embedder()
    assert extract([], made).features.shape == (0, 0, 8)
    none = [Views(Query("a", files[0]), np.empty((0, 4)))]
    assert extract(none, made).features.shape == (1, 0, 8)
    assert network.batches == []


def test_images_in_memory(files: list[Path], tmp_path: Path) -> None:
    made, network = embedder()
    views = views_of(files)
    arrays = [
        Views(Query(str(i), np.asarray(Image.open(path))), item.boxes)
        for i, (path, item) in enumerate(zip(files, views, strict=True))
    ]
    cache = tmp_path / "cache.sqlite"
    expected = extract(views, made).features
    assert np.array_equal(extract(arrays, made, cache=cache).features, expected)
    network.batches.clear()
    assert np.array_equal(extract(arrays, made, cache=cache).features, expected)
    assert network.batches == []


# -- failures --------------------------------------------------------------------------------------------------------------------------
def test_an_image_that_fails_is_left_out_and_counted(files: list[Path]) -> None:
    made, _ = embedder()
    views = views_of(files)
    whole = extract(views, made).features
    files[2].write_bytes(b"no image")
    files[4].unlink()
    views[6].boxes[1] = (50.0, 3.0, 30.0, 5.0)
    views[0] = Views(Query("0.png", files[0], size=(9, 9)), views[0].boxes)
    result = extract(views, made, on_error="skip")
    assert [item.id for item in result.failures] == ["0.png", "2.png", "4.png", "6.png"]
    assert result.kept.tolist() == [1, 3, 5]
    np.testing.assert_allclose(result.features, whole[[1, 3, 5]], atol=1e-5)
    for failure, reason in zip(
        result.failures,
        ("9×9", "not a readable image", "no such image", "6.png: the bounding box"),
        strict=True,
    ):
        assert reason in failure.reason
    for i, error in ((0, DatasetError), (2, ImageError), (4, ImageError), (6, DatasetError)):
        with pytest.raises(error):
            extract(views[i:], made)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_failures_are_the_same_with_a_cache(files: list[Path], tmp_path: Path, on_error: str) -> None:
    made, _ = embedder()
    cache = tmp_path / "cache.sqlite"
    views = views_of(files)
    extract(views, made, cache=cache)
    files[1].unlink()
    views[3] = Views(Query("3.png", files[3], size=(WIDTH, HEIGHT + 1)), views[3].boxes)
    if on_error == "raise":
        with pytest.raises(ImageError, match="no such image"):
            extract(views, made, cache=cache)
        with pytest.raises(DatasetError, match="annotated"):
            extract(views[3:], made, cache=cache)
        return
    assert [item.id for item in extract(views, made, cache=cache, on_error="skip").failures] == [
        "1.png",
        "3.png",
    ]


def test_wrong_arguments_are_found_before_the_first_image(files: list[Path]) -> None:
    made, network = embedder()
    views = views_of(files)
    half = views_of(files[:1])
    half[0].boxes[1, 2] = np.nan
    cases: list[tuple[list[Views], dict[str, Any], str]] = [
        (views, {"on_error": "ignore"}, "on_error"),
        (views, {"batch_size": 0}, "batch_size"),
        (views, {"workers": 0}, "workers"),
        (half, {}, "0.png: a box is NaN in part"),
        ([views[0], *views_of(files[1:2], count=3)], {}, "same number of boxes, not 3 to 4"),
        ([Views(Query("x", files[0]), np.zeros(4))], {}, r"x: boxes must be numbers of shape \(views, 4\)"),
    ]
    for given, options, message in cases:
        with pytest.raises(OptionError, match=message):
            extract(given, made, **options)
    assert network.batches == []


def test_a_box_outside_by_rounding_is_no_failure(files: list[Path]) -> None:
    made, _ = embedder()
    box = np.array([[30.0, 20.0, 30.0 + 1e-9, 20.0]])
    assert extract([Views(Query("a", files[0]), box)], made).failures == ()


# -- the cache -------------------------------------------------------------------------------------------------------------------------
def test_a_second_call_reads_the_cache(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, network = embedder()
    cache = tmp_path / "folder" / "cache.sqlite"
    views = views_of(files)
    first = extract(views, made, cache=cache, batch_size=5)
    network.batches.clear()

    def no_decoding(self: Query) -> Image.Image:
        raise AssertionError("an image was decoded although all of its vectors are known")

    monkeypatch.setattr(Query, "open", no_decoding)
    with FeatureCache(cache) as store:
        second = extract(views, made, cache=store, batch_size=3)
        assert len(store) == 28
    assert np.array_equal(first.features, second.features)
    assert network.batches == []


def test_what_changes_a_vector_changes_its_key(files: list[Path], tmp_path: Path) -> None:
    made, network = embedder()
    views = views_of(files[:1])
    with FeatureCache(tmp_path / "cache.sqlite") as cache:

        def computed(item: Views, by: Embedder = made) -> int:
            network.batches.clear()
            extract([item], by, cache=cache)
            return sum(network.batches)

        assert computed(views[0]) == 4
        assert computed(Views(views[0].query, views[0].boxes, mirrored=True)) == 4
        moved = views[0].boxes.copy()
        moved[1, 0] += 1e-3
        assert computed(Views(views[0].query, moved)) == 1
        renamed = files[0].with_name("renamed.png")
        renamed.write_bytes(files[0].read_bytes())
        assert computed(Views(Query("r", renamed), views[0].boxes)) == 0
        Image.open(files[1]).save(files[0])
        assert computed(views[0]) == 4
        larger = Embedder(network, made.at, Preprocessing(SIDE + 4))
        assert larger.dimension == 8
        assert computed(views[0], larger) == 4
        with torch.no_grad():
            network.body[0].bias += 0.1  # type: ignore[union-attr,operator]
        assert computed(views[0]) == 4


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_an_interrupted_run_keeps_its_batches_and_ends_its_threads(
    files: list[Path], tmp_path: Path, error: type[BaseException]
) -> None:
    made, network = embedder()
    cache = tmp_path / "cache.sqlite"
    views = views_of(files)
    expected = extract(views, made, batch_size=5).features
    network.batches.clear()
    network.fail_at, network.error = 4, error
    with pytest.raises(PartscopeError if error is RuntimeError else error):
        extract(views, made, cache=cache, batch_size=5, workers=3)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("partscope-views")]
    with FeatureCache(cache) as store:
        assert len(store) == 15
    network.fail_at = None
    network.batches.clear()
    assert np.array_equal(extract(views, made, cache=cache, batch_size=5).features, expected)
    assert sum(network.batches) == 13


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_in_a_thread_reaches_the_caller(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    made, _ = embedder()
    real = Query.open

    def failing(self: Query) -> Image.Image:
        if self.id == "5.png":
            raise error("in a thread")
        return real(self)

    monkeypatch.setattr(Query, "open", failing)
    cache = tmp_path / "cache.sqlite"
    with pytest.raises(error, match="in a thread"):
        extract(views_of(files), made, cache=cache, batch_size=4, on_error="skip")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("partscope-views")]
    with FeatureCache(cache) as store:
        assert len(store) == 20


# -- blocks and engines -----------------------------------------------------------------------------------------------
def many(files: list[Path], count: int = 20) -> list[Views]:
    """Views of more images than a block holds, every image with boxes of its own; one of them has none at all."""
    views = views_of([files[i % len(files)] for i in range(count)])
    views[9].boxes[:] = np.nan
    views[3].boxes[2] = views[3].boxes[0]
    return views


def test_blocks_hold_two_batches_at_least() -> None:
    assert [images_per_block(views, 32) for views in (0, 1, 2, 8, 16, 40)] == [64, 64, 32, 8, 8, 8]


@pytest.mark.parametrize("mirrored", [False, True])
def test_another_engine_gives_the_same_bytes(files: list[Path], mirrored: bool, tmp_path: Path) -> None:
    made, _ = embedder()
    views = [replace(item, mirrored=mirrored) for item in many(files)]
    here = extract(views, made, batch_size=5)
    there = extract(views, made, batch_size=5, engine=Backwards())
    assert there.features.tobytes() == here.features.tobytes()
    assert here.features[8].any()
    assert not here.features[9].any()
    cache = tmp_path / "cache.sqlite"
    kept = extract(views, made, batch_size=5, engine=Backwards(), cache=cache)
    assert kept.features.tobytes() == here.features.tobytes()
    again = extract(views, made, batch_size=5, cache=cache)
    assert again.features.tobytes() == here.features.tobytes()


def test_only_unfinished_blocks_are_computed_and_a_bad_one_costs_no_other(
    files: list[Path], tmp_path: Path
) -> None:
    made, network = embedder()
    views = many(files)
    views[9] = views_of(files[:1], seed=9)[0]
    expected = extract(views, made, batch_size=5).features
    cache = tmp_path / "cache.sqlite"
    engine = Backwards()
    engine.broken = 1
    with pytest.raises(EngineError, match=r"block 1 \(1.png to 1.png\)"):
        extract(views, made, batch_size=5, cache=cache, engine=engine)
    assert sorted(engine.computed) == [0, 2]
    # Stopped inside a block: the local run stores its batches, and another engine goes on with the views that are left.
    network.fail_at, network.batches[:] = 2, []
    with pytest.raises(KeyboardInterrupt):
        extract(views, made, batch_size=5, cache=cache)
    network.fail_at = None
    mended = Backwards()
    found = extract(views, made, batch_size=5, cache=cache, engine=mended).features
    assert mended.computed == [1]
    assert found.tobytes() == expected.tobytes()
    nothing = Backwards()
    assert extract(views, made, cache=cache, engine=nothing).features.tobytes() == expected.tobytes()
    assert nothing.computed == []


@pytest.mark.parametrize("cached", [False, True])
def test_bad_images_on_another_engine(files: list[Path], tmp_path: Path, cached: bool) -> None:
    made, _ = embedder()
    views = many(files, 19)
    for i, path in ((2, tmp_path / "no image.png"), (17, tmp_path / "missing.png")):
        views[i] = Views(Query(path.name, path), views[i].boxes)
    (tmp_path / "no image.png").write_bytes(b"no picture")
    here = extract(views, made, on_error="skip")
    cache = tmp_path / "cache.sqlite" if cached else None
    there = extract(views, made, on_error="skip", engine=Backwards(), cache=cache)
    assert [item.id for item in there.failures] == ["no image.png", "missing.png"]
    assert there.failures == here.failures
    assert there.kept.tolist() == here.kept.tolist()
    assert there.features.tobytes() == here.features.tobytes()
    with pytest.raises(ImageError, match="missing"):
        extract(views[16:], made, engine=Backwards(), cache=cache)


def test_images_of_whole_blocks_alone_have_the_bytes_of_all(files: list[Path]) -> None:
    made, _ = embedder()
    views = many(files)
    whole = extract(views, made, batch_size=5).features
    mine = [*range(8, 16), 18]  # the third block has lost images, which a job does not see either
    part = extract([views[i] for i in mine[:8]], made, batch_size=5)
    assert part.features.tobytes() == whole[8:16].tobytes()
    fewer = [i for i in range(20) if i != 3]
    left = extract([views[i] for i in fewer], made, batch_size=5, positions=fewer)
    assert left.features[7:].tobytes() == whole[8:].tobytes()


# -- memory ----------------------------------------------------------------------------------------------------------------------------
def test_few_images_are_ahead_of_the_network(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    made, network = embedder()
    warped = 0
    real = Preprocessing.warped

    def counting(self: Preprocessing, *args: Any) -> Any:
        nonlocal warped
        warped += 1
        return real(self, *args)

    most = 0

    class Watched(extraction._Batches):
        def _run(self, count: int) -> None:
            nonlocal most
            most = max(most, warped - sum(network.batches))
            super()._run(count)

    monkeypatch.setattr(Preprocessing, "warped", counting)
    monkeypatch.setattr(extraction, "_Batches", Watched)
    result = extract(views_of(files * 20), made, batch_size=4, workers=2)
    assert isinstance(result, Extracted)
    assert warped == 4 * 140
    # A batch that waits, and three images of four views that are prepared or being prepared.
    assert most <= 4 * (1 + 3 + 1)
