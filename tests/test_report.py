from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from partscope.dataset import Skipped
from partscope.errors import ImageError, OptionError, PartscopeError
from partscope.report import (
    Facts,
    Gallery,
    Notes,
    PartTable,
    Picture,
    ResultTable,
    Table,
    environment_facts,
    method_name,
    write_report,
)

pytest.importorskip("jinja2")

HOSTILE = "<script>alert('x')</script>"
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Elements, attributes, and the text of table cells and of everything else; unbalanced tags fail."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[tuple[str, str | None, str]]] = []
        self.words = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append((tag, dict(attrs).get("scope"), ""))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("th", "td"):
            tag, scope, text = self.rows[-1].pop()
            self.rows[-1].append((tag, scope, text + data))
        if "style" not in self.open:
            self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def cells(self) -> list[list[str]]:
        return [[text for _, _, text in row] for row in self.rows]


def row(**changed):
    values = {
        "method": "channel", "backbone": "squeezenet1_1", "layer": "features.12", "input_size": 227,
        "centre": "mixture", "region": "image", "images": 120, "parts": 2,
        "error": {"diagonal": {"mean": 0.1634, "macro": 0.158, "median": 0.12, "ci95": [0.155, 0.172]}, "axes": {}},
        "pck": {"0.05": 0.1, "0.1": 0.34, "0.2": 0.7}, "coverage": 0.995,
        "prior": {"image": 0.24, "box": 0.186}, "skill": -0.0127, "skill_against": "image",
        "per_part": {
            "beak": {"images": 100, "mean": 0.2, "median": 0.15, "ci95": [0.18, 0.22], "pck": {"0.1": 0.3},
                     "coverage": 1.0, "prior": {"image": 0.3, "box": None}, "skill": 0.3333},
            "tail": {"images": 0, "mean": None, "median": None, "ci95": [None, None], "pck": {"0.1": None},
                     "coverage": None, "prior": {"image": None, "box": None}, "skill": None},
        },
    }  # fmt: skip
    return values | changed


def written(tmp_path, *sections, **options) -> tuple[str, Page]:
    path = write_report(
        tmp_path / "report.html", title=options.pop("title", "Run"), sections=sections, **options
    )
    text = path.read_text("utf-8")
    return text, Page(text)


def test_result_table_has_the_papers_form(tmp_path):
    prior = row(
        method="prior", centre=None, backbone=None, layer=None, input_size=None, skill=0.0, region="box"
    )
    prior["error"] = {"diagonal": {"mean": 0.186, "macro": 0.174, "median": None, "ci95": None}}
    _, page = written(tmp_path, ResultTable("Table 1", [row(), prior], "errors"))
    head, first, second = page.cells()
    assert head[:4] == ["Method", "Network", "Norm. error", "95 % interval"]
    assert first == [
        "Mixture (GMM), Full", "squeezenet1_1, features.12, 227 px", "0.163", "0.155 to 0.172", "0.158", "0.120",
        "0.340", "0.240", "0.186", "−0.013 (image)", "99.5 %", "120",
    ]  # fmt: skip
    assert second[:4] == ["Prior in the box", "–", "0.186", "–"]
    assert len(first) == len(second) == len(head)
    # The smaller error is marked, and only that one.
    assert [attributes.get("class") for attributes in page.all("tr")] == [None, "best", None]


def test_tables_are_semantic(tmp_path):
    _, page = written(tmp_path, ResultTable("Table 1", [row()], "All errors"), PartTable("Parts", row()))
    for cells in page.rows:
        assert cells[0][0] == "th"
    assert all(scope == "col" for tag, scope, _ in page.rows[0])
    assert page.rows[1][0][1] == "row"
    assert all(tag == "td" for tag, _, _ in page.rows[1][1:])
    assert len(page.all("caption")) == 2
    assert "All errors" in page.words


def test_part_table_shows_dashes_for_what_does_not_exist(tmp_path):
    _, page = written(tmp_path, PartTable("Parts", row()))
    _, beak, tail = page.cells()
    assert beak == [
        "beak",
        "100",
        "0.200",
        "0.180 to 0.220",
        "0.150",
        "0.300",
        "0.300",
        "–",
        "+0.333",
        "100.0 %",
    ]
    assert tail == ["tail", "0"] + ["–"] * 8


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"centre": "maximum", "region": "crop"}, "Maximum (MaxG), BB, crop"),
        ({"method": "transfer", "centre": None, "region": "box"}, "Part Transfer, BB"),
        ({"method": "prior", "centre": None, "region": "image"}, "Prior in the image"),
        ({"centre": "mine", "region": "mask"}, "mine, BB, mask"),
        ({"method": "linear", "centre": "exemplars", "region": "image"}, "linear + arrangement, Full"),
        ({"method": "linear", "centre": "none", "region": "crop"}, "linear, BB, crop"),
        ({"method": "discovered", "centre": "channels", "region": "image"}, "discovered channels, Full"),
        ({"name": "Paper"}, "Paper"),
    ],
)
def test_method_names(changed, name):
    assert method_name(row(**changed)) == name


def test_hostile_names_are_shown_and_never_run(tmp_path):
    hostile = row(method=HOSTILE, centre=None, per_part={HOSTILE: row()["per_part"]["beak"]})
    photo = Image.new("RGB", (30, 20))
    picture = Picture(HOSTILE, photo, HOSTILE, 'a "quoted" ' + HOSTILE)
    text, page = written(
        tmp_path,
        Facts(HOSTILE, {HOSTILE: HOSTILE}),
        ResultTable(HOSTILE, [hostile], HOSTILE),
        PartTable(HOSTILE, hostile),
        picture,
        Gallery(HOSTILE, [picture], HOSTILE),
        Notes(HOSTILE, [HOSTILE, Skipped(HOSTILE, HOSTILE)]),
        title=HOSTILE,
        lead=HOSTILE,
    )
    assert page.all("script") == []
    assert "<script" not in text
    assert page.words.count(HOSTILE) > 15
    assert page.all("img")[0]["alt"] == 'a "quoted" ' + HOSTILE
    assert all(not any(name.startswith("on") for name in attributes) for _, attributes in page.elements)


def test_page_fetches_nothing(tmp_path):
    image = np.zeros((20, 30, 3), np.uint8)
    png = io.BytesIO()
    Image.fromarray(image).save(png, format="PNG")
    text, page = written(tmp_path, Picture("a", png.getvalue(), "b", "c"), ResultTable("t", [row()]))
    assert not re.search(r"https?://", text)
    assert not re.search(r"url\(|@import", text)
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "data", "action"):
            assert (attributes.get(name) or "#").startswith(("data:image/", "#"))
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy


def source(page: Page, number: int = 0) -> bytes:
    return base64.b64decode(page.all("img")[number]["src"].split(",", 1)[1])


def test_pictures_are_inside_the_page(tmp_path):
    photo = Image.new("RGB", (3200, 1000), (200, 40, 10))
    path = tmp_path / "photo.png"
    photo.resize((64, 48)).save(path)
    png = path.read_bytes()
    _, page = written(
        tmp_path,
        Picture("a", photo, "first", "x"),
        Gallery("g", [Picture("b", png, "second", "y"), Picture("c", path, "third", "z")]),
    )
    with Image.open(io.BytesIO(source(page))) as shown:
        assert shown.size == (1600, 500)
        assert np.abs(np.array(shown.getpixel((800, 250))) - (200, 40, 10)).max() < 6
    assert (page.all("img")[0]["width"], page.all("img")[0]["height"]) == ("1600", "500")
    assert source(page, 1) == png
    with Image.open(io.BytesIO(source(page, 2))) as shown:
        assert shown.size == (64, 48)
    assert len(page.all("figcaption")) == 3
    assert "second" in page.words


def test_matplotlib_figures_are_embedded_as_png(tmp_path):
    pytest.importorskip("matplotlib")
    from partscope.figures import figure_shared_channels

    figure = figure_shared_channels({"beak": 7})
    _, page = written(tmp_path, Picture("Channels", figure, "caption", "beak uses channel 7"))
    with Image.open(io.BytesIO(source(page))) as shown:
        assert shown.format == "PNG"
        assert shown.width > 600


def test_facts_notes_and_contents(tmp_path):
    _, page = written(
        tmp_path,
        Facts("Run", {"seed": 0, "channels": [3, 5], "share": 0.25, "box": None}),
        Notes("Skipped", [Skipped("a/b.jpg", "truncated"), "8 boxes were clipped"]),
        Notes("Failures", []),
        Table("Ablation", ["rule", "error"], [["squared", "0.17"], ["median", "0.16"]]),
        lead="A short lead.",
    )
    assert [page.words.count(word) for word in ("A short lead.", "a/b.jpg: truncated", "3, 5", "None.")] == [
        1,
        1,
        1,
        1,
    ]
    assert len(page.all("dt")) == len(page.all("dd")) == 4
    targets = {attributes.get("id") for _, attributes in page.elements}
    links = [attributes["href"] for attributes in page.all("a")]
    assert len(links) == 4
    assert all(link.removeprefix("#") in targets for link in links)
    assert page.cells()[1:] == [["squared", "0.17"], ["median", "0.16"]]


def test_page_is_accessible(tmp_path):
    _, page = written(
        tmp_path, ResultTable("Table 1", [row()]), Picture("a", Image.new("RGB", (9, 9)), "b", "c")
    )
    assert page.all("html") == [{"lang": "en"}]
    assert [len(page.all(tag)) for tag in ("title", "h1", "main", "header", "footer")] == [1, 1, 1, 1, 1]
    assert all(attributes["alt"] for attributes in page.all("img"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(a["aria-labelledby"] in ids for a in page.all("section"))


def luminance(colour: str) -> float:
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_contrast_in_light_and_dark(tmp_path):
    text, _ = written(tmp_path)
    schemes = re.findall(r":root \{([^}]*--ground[^}]*)\}", text)
    assert len(schemes) == 2
    assert "prefers-color-scheme: dark" in text
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", scheme))
        for ink in ("text", "quiet", "link"):
            for ground in ("ground", "stripe", "mark"):
                light, dark = sorted((luminance(colours[ink]), luminance(colours[ground])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)
    assert luminance(dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", schemes[1]))["ground"]) < 0.05


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (Picture("Curve", Image.new("RGB", (9, 9)), "caption", " "), "'Curve' has no alt text"),
        (Picture("Curve", b"GIF89a", "caption", "alt"), "neither PNG nor JPEG"),
        (Picture("Curve", 7, "caption", "alt"), "int"),  # type: ignore[arg-type]
        (Table("Ablation", ["a", "b"], [["1"]]), "'Ablation' has 2 headers"),
    ],
)
def test_bad_sections_are_named_and_leave_no_file(tmp_path, section, message):
    with pytest.raises(OptionError, match=message):
        write_report(tmp_path / "report.html", title="Run", sections=[section])
    assert list(tmp_path.iterdir()) == []


def test_missing_picture_and_missing_folder(tmp_path):
    with pytest.raises(ImageError, match=r"nothing\.png"):
        write_report(
            tmp_path / "r.html", title="Run", sections=[Picture("a", tmp_path / "nothing.png", "b", "c")]
        )
    with pytest.raises(PartscopeError, match="no-such"):
        write_report(tmp_path / "no-such" / "r.html", title="Run", sections=[])


def test_the_old_report_survives_a_failure_and_the_same_input_gives_the_same_bytes(tmp_path):
    path = tmp_path / "report.html"
    write_report(path, title="Run", sections=[ResultTable("t", [row()])])
    before = path.read_bytes()
    with pytest.raises(OptionError):
        write_report(path, title="Other", sections=[Table("t", ["a"], [[]])])
    assert path.read_bytes() == before
    write_report(path, title="Run", sections=[ResultTable("t", [row()])])
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_file_names_that_are_not_unicode_do_not_cost_the_report(tmp_path):
    text, _ = written(tmp_path, Notes("Skipped", ["caf\udce9.jpg"]))
    assert "caf?.jpg" in text


def test_environment_facts_name_versions_and_no_host():
    import platform

    facts = environment_facts()
    assert re.match(r"\d+\.\d+", facts["torch"])
    assert platform.node() not in " ".join(facts.values())
