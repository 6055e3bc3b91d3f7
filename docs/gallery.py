"""Write the pictures of docs/gallery.md: drawn birds, what partscope finds on them, and why.

`python docs/gallery.py` (needs the extra `plot`) takes some minutes on a laptop and writes `docs/figures/gallery-*`. The birds
and the fits are fixed by seeds; shown are the first test images of different species whose bird fills enough of the picture to be
legible, none chosen by its error.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

from PIL import Image

from partscope.dataset import PartDataset, Sample
from partscope.detectors import ChannelDetector, LinearDetector
from partscope.explanation import explain
from partscope.figures import draw_parts, figure_bytes, figure_evidence
from partscope.images import load_image
from partscope.synthetic import write_synthetic_birds

FIGURES = Path(__file__).parent / "figures"
MOST_BYTES = 60_000
BIRDS, SPECIES, SIZE = 120, 8, 320
#: What is fitted on: all marked training birds for the linear detector, and few for the channels' gradients.
MARKED, MARKED_FOR_CHANNELS = 60, 20
#: Share of the picture that the box of a bird that is shown covers at least.
LEGIBLE = 0.2
EXPLAINED = ("beak", "tail", "breast")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FIGURES, help="folder of the pictures")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        birds = write_synthetic_birds(folder, images=BIRDS, classes=SPECIES, random_state=0, size=SIZE)
        shown = one_of_each_class(birds.test, 6)
        save(side_by_side([marked(sample, birds.parts) for sample in shown], 3), out / "gallery-marked.jpg")
        linear = LinearDetector().fit(birds.train.limit(MARKED, random_state=0))
        found = linear.predict(shown)
        overlays = [
            draw_parts(
                load_image(sample.image),
                found.parts,
                found.points[i],
                found.found[i] & found.visible[i],
                truth=sample.points,
            )
            for i, sample in enumerate(shown)
        ]
        save(side_by_side(overlays[:2], 2), out / "gallery-found-1.jpg")
        save(side_by_side(overlays[2:4], 2), out / "gallery-found-2.jpg")
        save_figure(figure_of(linear, shown[0]), out / "gallery-evidence-1.png")
        save_figure(figure_of(linear, shown[2]), out / "gallery-evidence-2.png")
        few = birds.train.limit(MARKED_FOR_CHANNELS, random_state=0)
        save_figure(figure_of(ChannelDetector(shortlist=2).fit(few), shown[0]), out / "gallery-gradients.png")


def one_of_each_class(data: PartDataset, count: int) -> PartDataset:
    """The first legible image of each of the first `count` classes that have one."""
    first: dict[str | None, int] = {}
    for i, sample in enumerate(data):
        if sample.box and sample.box[2] * sample.box[3] >= LEGIBLE * sample.size[0] * sample.size[1]:
            first.setdefault(sample.label, i)
    return data[sorted(first.values())[:count]]


def marked(sample: Sample, parts: tuple[str, ...]) -> Image.Image:
    """A bird with its marked parts."""
    seen = [part for part, visible in zip(parts, sample.visible, strict=True) if visible]
    places = sample.points[sample.visible]
    return draw_parts(load_image(sample.image), seen, places, [True] * len(seen), box=sample.box)


def figure_of(detector: LinearDetector | ChannelDetector, sample: Sample) -> object:
    image = load_image(sample.image)
    return figure_evidence(
        image, [explain(detector, image, part, count=3) for part in EXPLAINED], title="What positions rest on"
    )


def side_by_side(pictures: list[Image.Image], columns: int) -> Image.Image:
    """Lay pictures out in rows, each scaled to the width of its column, on white."""
    width = 480
    scaled = [picture.resize((width, round(picture.height * width / picture.width))) for picture in pictures]
    rows = [scaled[i : i + columns] for i in range(0, len(scaled), columns)]
    heights = [max(picture.height for picture in row) for row in rows]
    sheet = Image.new(
        "RGB", (columns * width + 8 * (columns - 1), sum(heights) + 8 * (len(rows) - 1)), "white"
    )
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            sheet.paste(picture, (column * (width + 8), top))
        top += height + 8
    return sheet


def save_figure(figure: object, path: Path) -> None:
    save(Image.open(io.BytesIO(figure_bytes(figure, ".png"))).convert("RGB"), path)  # type: ignore[arg-type]


def save(picture: Image.Image, path: Path) -> None:
    """Write at most 60 KB, with as many pixels as fit: a drawn bird as JPEG, a figure as PNG of 256 colours."""
    width = min(1100, picture.width)
    while True:
        small = picture.resize(
            (width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS
        )
        buffer = io.BytesIO()
        if path.suffix == ".jpg":
            small.save(buffer, "JPEG", quality=80, optimize=True)
        else:
            small.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
                buffer, "PNG", optimize=True
            )
        if len(buffer.getvalue()) <= MOST_BYTES:
            path.write_bytes(buffer.getvalue())
            return
        width = int(width * 0.92)


if __name__ == "__main__":
    main()
