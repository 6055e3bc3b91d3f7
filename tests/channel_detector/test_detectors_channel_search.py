"""The channel detector's searches, and the scan folders by which a fit goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import partscope.maps
import partscope.scan
from colour_network import DEAD, colours, quick
from partscope.channel_centres import CentreSpec
from partscope.dataset import PartDataset
from partscope.detectors import ChannelDetector, PartDetector
from partscope.errors import ScanError
from partscope.selection import rank_channels
from partscope.shortlist import shortlist_channels

pytestmark = pytest.mark.filterwarnings("ignore:.*will never be found")


def test_a_large_shortlist_is_the_exhaustive_search(train: PartDataset, test: PartDataset) -> None:
    whole = quick(search="exhaustive").fit(train)
    listed = quick(search="shortlist", shortlist=6).fit(train)
    assert whole.ranking_.channels.tolist() == listed.ranking_.channels.tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(whole.ranking_.cost, listed.ranking_.cost)
    assert whole.channels_ == listed.channels_
    np.testing.assert_array_equal(whole.predict(test).points, listed.predict(test).points)
    # The dead channel has no centre anywhere and does not win for it.
    assert (whole.ranking_.missing[:, DEAD] == whole.ranking_.images).all()


@pytest.mark.parametrize("search", ["bounded", "racing"])
def test_searches_that_drop_channels_find_the_same(
    train: PartDataset, test: PartDataset, tmp_path: Path, search: str
) -> None:
    whole = quick(search="exhaustive").fit(train)
    found = quick(search=search, top=2, delta=0.01).fit(train)
    assert found.channels_ == whole.channels_
    assert whole.search_ is None
    assert found.search_ is not None
    assert (found.search_.method, found.search_.top, found.search_.exhaustive_maps) == (search, 2, 60)
    assert found.search_.delta == (0.01 if search == "racing" else None)
    assert found.search_.silent >= 10, "the dead channel costs nothing"
    assert found.search_.maps <= 60 - found.search_.silent
    expected = {row["channel"]: row for row in whole.ranking_.top("tail", 6)}
    for row in found.ranking_.top("tail", 6):
        there = expected[row["channel"]]
        if row["complete"]:
            assert row["cost"] == pytest.approx(there["cost"], rel=1e-5)
        else:
            assert row["cost"] <= there["cost"]
    found.save(tmp_path / "model")
    again = PartDetector.load(tmp_path / "model", backbone=colours())
    np.testing.assert_array_equal(again.ranking_.order, found.ranking_.order)
    np.testing.assert_array_equal(again.ranking_.exact, found.ranking_.exact)
    assert again.search_ is None
    np.testing.assert_allclose(again.predict(test).points, whole.predict(test).points, rtol=1e-6)


def test_gradients_are_computed_for_the_shortlist_alone(
    train: PartDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    differentiate, computed = partscope.maps._gradients, set()

    def noted(activations: torch.Tensor, image: torch.Tensor, channels: list[int]) -> torch.Tensor:
        computed.update(channels)
        return differentiate(activations, image, channels)

    monkeypatch.setattr(partscope.maps, "_gradients", noted)
    detector = quick(shortlist=1).fit(train)
    expected = shortlist_channels(train, colours(), 1).tolist()
    assert len(expected) < 6
    assert sorted(computed) == expected == detector.ranking_.channels.tolist()


@pytest.mark.parametrize(("rule", "normalise"), [("squared", "none"), ("mean", "image"), ("median", "box")])
def test_rule_and_normaliser_reach_the_ranking(train: PartDataset, rule: str, normalise: str) -> None:
    detector = ChannelDetector(
        colours(), rule=rule, normalise=normalise, search="exhaustive", centre="maximum"
    ).fit(train)
    scanned = partscope.scan.scan(train, colours(), [CentreSpec(centre="maximum")])
    expected = rank_channels(scanned.centres[:, 0], train, rule=rule, normalise=normalise)
    np.testing.assert_array_equal(detector.ranking_.cost, expected.cost)


# -- scan folders ------------------------------------------------------------------------------------------------------------------
class Killed(BaseException):
    pass


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    compute = partscope.scan._centres_of

    def noted(sample: Any, *args: Any) -> Any:
        if len(names) == limit[0]:
            raise Killed
        names.append(sample.id)
        return compute(sample, *args)

    monkeypatch.setattr(partscope.scan, "_centres_of", noted)
    return names


limit = [10**9]


@pytest.fixture(autouse=True)
def _no_limit() -> Iterator[None]:
    yield
    limit[0] = 10**9


@pytest.mark.parametrize("killed_after", [3, 8, 15])
def test_a_killed_fit_is_continued(
    train: PartDataset, tmp_path: Path, computed: list[str], killed_after: int
) -> None:
    quick().fit(train).save(tmp_path / "expected")
    computed.clear()
    limit[0] = killed_after
    detector = quick(scan_folder=tmp_path / "scan")
    with pytest.raises(Killed):
        detector.fit(train)
    computed.clear()
    limit[0] = 10**9
    detector.fit(train)
    # Blocks of 8 images, first of the shortlist, then of the gradients: finished ones are not computed again.
    assert len(computed) == {3: 20, 8: 12, 15: 10}[killed_after]
    detector.set_params(scan_folder=None).save(tmp_path / "found")
    assert (tmp_path / "found").read_bytes() == (tmp_path / "expected").read_bytes()


def test_a_scan_folder_is_kept_to_one_scan(train: PartDataset, tmp_path: Path) -> None:
    quick(scan_folder=tmp_path).fit(train)
    with pytest.raises(ScanError, match="differs in centres"):
        quick(scan_folder=tmp_path, centre="centroid").fit(train)
    with pytest.raises(ScanError, match="differs in data set"):
        quick(scan_folder=tmp_path).fit(train[:4])
    # Rules of selection are applied afterwards.
    quick(scan_folder=tmp_path, search="shortlist", shortlist=4, rule="squared").fit(train)
