"""The demo's promises: its files, its honesty about what is smaller, and both kinds of data."""

from __future__ import annotations

import dataclasses
import json
from html.parser import HTMLParser

import pytest
from PIL import Image

from partscope.demo import DemoSettings, run_demo
from partscope.errors import OptionError

pytest.importorskip("matplotlib")

pytestmark = pytest.mark.filterwarnings("ignore:.*are fewer than the")

SMALL = DemoSettings(train=8, test=5, classes=4, input_size=64, shortlist=1)


class Headings(HTMLParser):
    """Collects the text of the second-level headings."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inside = False

    def handle_starttag(self, tag, attrs):
        self.inside = tag == "h2"

    def handle_data(self, data):
        if self.inside and data.strip():
            self.found.append(data.strip())
            self.inside = False


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "out"
    return out, run_demo(None, out, settings=SMALL, progress=False)


def test_table_and_report_are_written(output):
    out, table = output
    document = json.loads((out / "table1.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in document["rows"]] == list(table.evaluations)
    assert document["demo"] == SMALL.sentence()
    headings = Headings()
    headings.feed((out / "report.html").read_text(encoding="utf-8"))
    assert headings.found[0] == "Table 1"
    assert "Parts found and their gradient maps" in headings.found
    assert "What a part's position rests on" in headings.found
    assert "Parts, linear + arrangement, Full" in headings.found
    assert "Parts found on test images" in headings.found


def test_images_are_as_many_as_it_says(output):
    _, table = output
    assert (len(table.train), len(table.test)) == (SMALL.train, SMALL.test)
    assert table.backbone.input_size == SMALL.input_size
    assert not {sample.id for sample in table.train} & {sample.id for sample in table.test}


def test_overlays_can_be_opened(output):
    out, table = output
    overlays = sorted((out / "overlays").iterdir())
    assert len(overlays) == min(8, len(table.test))
    for path in overlays:
        with Image.open(path) as image:
            image.load()
            assert min(image.size) > 60


def test_a_folder_in_the_layout_of_cub(tiny_cub, tmp_path):
    settings = dataclasses.replace(SMALL, methods=("channel",))
    table = run_demo(tiny_cub, tmp_path / "out", settings=settings, progress=False)
    assert not table.detectors
    assert not (tmp_path / "out" / "birds").exists()
    assert "photographs" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert len(table.train) <= SMALL.train


def test_out_must_not_be_a_file(tmp_path):
    (tmp_path / "taken").write_text("x")
    with pytest.raises(OptionError, match="taken: this is a file"):
        run_demo(None, tmp_path / "taken", settings=SMALL, progress=False)
