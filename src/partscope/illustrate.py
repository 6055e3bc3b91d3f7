"""Figures and overlays of one measured table, from its own images: what the demo's report shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from partscope.atomic import atomic_path
from partscope.centres import cut_points, fit_mixture
from partscope.dataset import Sample
from partscope.evaluation import Evaluation
from partscope.explanation import explain, strongest_channels
from partscope.figures import (
    draw_parts,
    figure_error_curves,
    figure_evidence,
    figure_maps,
    figure_method,
    figure_part_errors,
    figure_ranking,
    figure_shared_channels,
    share_band,
)
from partscope.images import load_image
from partscope.maps import gradient_maps
from partscope.metrics import predictions_with_mean_part
from partscope.report import Gallery, Picture
from partscope.reproduce import DetectorRow, Outcome, Table1
from partscope.views import view

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The parts that the paper's Fig. 2 shows, where the data set has them.
_SHOWN = ("head", "belly", "tail")


def pictures_of(table: Table1, outcome: Outcome) -> list[Picture]:
    """Draw the figures of one variant without a box: Fig. 1, Fig. 2, ranking, shared channels, error curves, parts."""
    selected = {
        part: channel
        for part, channel in zip(outcome.ranking.parts, outcome.ranking.best.tolist(), strict=True)
        if channel >= 0
    }
    ranking, evaluation = outcome.ranking, outcome.evaluation
    shown = ranking.images > 0
    curves = {name: item.errors for name, item in _curves(table).items()}
    thresholds = np.linspace(0, 0.5, 51)
    band = share_band(evaluation.errors, thresholds)
    first = table.test.ids.index(_best(table, outcome, 1)[0].id)
    return [
        Picture(
            "From gradient maps to part detectors",
            _method(table, outcome, table.test[first]),
            "The paper's Fig. 1 from this run: gradient maps of selected channels, the cut maps with the two components of "
            "the mixture, and the parts that selected the channel at their marked positions.",
            "Gradient maps of three channels on one test image with mixture ellipses and part positions.",
        ),
        Picture(
            "Parts found and their gradient maps",
            _found(table, outcome),
            "The paper's Fig. 2 from this run, on test images, without a box and without geometric constraints. Shown are "
            "images with small errors, to make the maps legible; the gallery below shows images as they come.",
            "Test images with part positions and the gradient map of each part beside them.",
        ),
        Picture(
            "Ranking of channels",
            figure_ranking(
                np.where(ranking.exact, ranking.cost, np.nan)[shown],
                [part for part, known in zip(ranking.parts, shown, strict=True) if known],
                channels=ranking.channels.tolist(),
            ),
            "Eq. 3: mean squared normalised distance of each channel's centre from the part, the ten best per part.",
            "For each part the costs of its ten best channels.",
        ),
        Picture(
            "Parts that share a channel",
            figure_shared_channels(selected),
            "Several parts may select the same channel; nothing forbids it.",
            "Lines from parts to the channels that they selected.",
        ),
        Picture(
            "Error curves",
            figure_error_curves(
                curves,
                thresholds=thresholds,
                bands={outcome.variant.name: band},
                baselines=[name for name in curves if name.startswith("prior")],
            ),
            "Share of the visible parts of the test images that are found within an error; the band is a 95 % interval.",
            "Cumulative error curves of all methods, the priors dashed.",
        ),
        Picture(
            "Error of each part",
            figure_part_errors(
                evaluation.parts,
                {outcome.variant.name: _part_means(evaluation.errors)},
                prior=_part_means(table.baselines["prior in image"].errors),
            ),
            "Mean normalised error of each part; the black line is the static prior in the image.",
            "Bars of the mean error per part.",
        ),
    ]


def evidence_of(table: Table1, row: DetectorRow) -> Picture:
    """Draw what the positions of some parts in one test image rest on, for a detector that searches the whole image."""
    sample = table.test[table.test.ids.index(row.evaluation.ids[0])]
    image = load_image(sample.image)
    known = [part for part in row.detector.parts_ if strongest_channels(row.detector, part, 1)]
    shown = [part for part in ("beak", *_SHOWN) if part in known] or known
    return Picture(
        "What a part's position rests on",
        figure_evidence(image, [explain(row.detector, image, part) for part in shown[:3]]),
        "The evidence of some parts in one test image (before the arrangement of all parts is taken into account), and what "
        "the strongest of the channels that are combined add to it: red more, blue less.",
        "For each part the image, its evidence map and the signed maps of four channels.",
    )


def overlays_of(table: Table1, outcome: Outcome | DetectorRow, folder: Path, most: int = 8) -> Gallery:
    """Write overlays of the first test images, one from each class in turn, into `folder` and return them as a gallery."""
    folder.mkdir(parents=True, exist_ok=True)
    order: list[int] = []
    rounds: dict[str | None, list[int]] = {}
    for i, sample in enumerate(table.test):
        rounds.setdefault(sample.label, []).append(i)
    while len(order) < min(most, len(table.test)):
        for group in rounds.values():
            if group:
                order.append(group.pop(0))
    pictures = []
    row = {name: i for i, name in enumerate(outcome.predictions.ids)}
    for rank, i in enumerate(order[:most]):
        sample = table.test[i]
        if sample.id not in row:
            continue
        found = outcome.predictions[[row[sample.id]]]
        drawn = draw_parts(
            load_image(sample.image), found.parts, found.points[0], found.found[0], truth=sample.points
        )
        with atomic_path(folder / f"{rank + 1:02d}-{Path(sample.id).stem}.jpg") as file:
            drawn.save(file, quality=88)
        pictures.append(
            Picture(sample.id, drawn, sample.id, f"Test image {sample.id} with the parts found on it.")
        )
    caption = "Dots: found; crosses: marked, joined by a line. One image of each class in turn, not chosen by error."
    return Gallery("Parts found on test images", pictures, caption)


def _curves(table: Table1) -> dict[str, Evaluation]:
    return {
        name: evaluation
        for name, evaluation in table.evaluations.items()
        if name.startswith(("prior", "Part Transfer")) or name.endswith("Full")
    }


def _part_means(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(errors).any(axis=0)
    means = np.full(errors.shape[1], np.nan)
    means[known] = np.nanmean(errors[:, known], axis=0)
    return means


def _best(table: Table1, outcome: Outcome, count: int) -> list[Sample]:
    """The test images with the smallest mean error among those that show at least half of the parts."""
    errors = outcome.evaluation.errors
    seen = np.isfinite(errors).sum(axis=1)
    enough = np.flatnonzero(seen >= min(seen.max(), errors.shape[1] / 2))
    order = enough[np.argsort(np.nanmean(errors[enough], axis=1), kind="stable")]
    chosen = [outcome.evaluation.ids[i] for i in order[:count]]
    by_id = {sample.id: sample for sample in table.test}
    return [by_id[name] for name in chosen]


def _maps(table: Table1, outcome: Outcome, sample: Sample, channels: Sequence[int]) -> torch.Tensor:
    spec = outcome.variant.spec
    seen = view(table.backbone.preprocessing, load_image(sample.image), spec.region, sample.box)
    return gradient_maps(table.backbone, seen.inputs, channels, reduction=spec.reduction).cpu()


def _method(table: Table1, outcome: Outcome, sample: Sample) -> Figure:
    ranking = outcome.ranking
    winners = [channel for channel in ranking.best.tolist() if channel >= 0]
    channels = sorted(set(winners), key=lambda channel: (-winners.count(channel), channel))[:3]
    maps = _maps(table, outcome, sample, channels)
    peaks = maps.flatten(1).amax(dim=1).clamp_min(torch.finfo(maps.dtype).tiny)
    mixture = fit_mixture(cut_points(maps / peaks[:, None, None], outcome.variant.spec.quantile))
    scale = None if sample.box is None else float(np.hypot(sample.box[2], sample.box[3]))
    return figure_method(
        load_image(sample.image),
        maps.numpy(),
        mixture.mean.numpy(),
        mixture.covariance.numpy(),
        mixture.share.numpy(),
        channels=channels,
        parts=ranking.parts,
        selected=ranking.best.tolist(),
        truth=sample.points,
        scale=scale,
        quantile=outcome.variant.spec.quantile,
    )


def _found(table: Table1, outcome: Outcome, count: int = 3) -> Figure:
    ranking = outcome.ranking
    predictions = outcome.predictions
    shown: tuple[str, ...] = _SHOWN
    channel_of = dict(zip(ranking.parts, ranking.best.tolist(), strict=True))
    if "crown" in channel_of and set(_SHOWN[1:]) <= set(channel_of):
        # The paper's "head" is the mean of several parts; its map is that of the crown's channel.
        predictions = predictions_with_mean_part(predictions)
        channel_of["head"] = channel_of["crown"]
    else:
        shown = tuple(part for part in ranking.parts if channel_of[part] >= 0)[:3]
    row = {name: i for i, name in enumerate(predictions.ids)}
    samples = _best(table, outcome, count)
    channels = [channel_of[part] for part in shown]
    chosen = predictions.with_parts(shown)
    return figure_maps(
        [load_image(sample.image) for sample in samples],
        np.stack([chosen.points[row[sample.id]] for sample in samples]),
        [_maps(table, outcome, sample, channels).numpy() for sample in samples],
        list(shown),
        channels=channels,
    )
