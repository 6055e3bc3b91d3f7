"""`evaluate`: predictions against annotations, with a stated rule for what was not found (protocol, sections 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from partscope import metrics
from partscope.dataset import PartDataset
from partscope.errors import DatasetError, OptionError
from partscope.evaluation.matching import common_images, common_parts
from partscope.evaluation.result import INFO_KEYS, Evaluation
from partscope.metrics.bootstrap import DRAWS
from partscope.predictions import PartPredictions
from partscope.prior import Frame, StaticPrior

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_REGIONS = ("image", "box", "mask", "crop")


def evaluate(
    predictions: PartPredictions,
    dataset: PartDataset,
    prior: StaticPrior | None = None,
    *,
    fallback: Frame | None = None,
    normaliser: metrics.Normaliser = "box",
    info: Mapping[str, Any] | None = None,
    sigmas: Mapping[str, float] | None = None,
    on_error: str = "raise",
    random_state: int = 0,
    draws: int = DRAWS,
) -> Evaluation:
    """Compare predictions with a data set's annotations.

    Images match by id, parts by name; what stands on one side only is counted in the notes. A visible part that was not
    found is given the prior's position; where the prior has none (or there is no prior), the farthest image corner. Both
    are counted. A prior relative to the box falls back to the one relative to the image where an image has no box. The
    prior's own errors follow the same rule, so they are over the same pairs.

    Parameters
    ----------
    predictions: what a detector returned; `failures` are counted, not charged.
    dataset: the annotations.
    prior: the static prior of the *training* images.
    fallback: which prior a part that was not found is given, and which one skill is measured against: `"image"` or
        `"box"`. By default the box's where `info["region"]` says that the method used the box.
    normaliser: what distances are divided by, see :func:`partscope.metrics.make_scale`.
    info: `method, backbone, layer, input_size, centre, region`, copied to the row.
    sigmas: standard deviations per part, by name, for OKS.
    on_error: `"skip"` leaves out an image whose scale is zero instead of raising.
    random_state, draws: seed and number of the bootstrap's draws; the interval does not depend on the images' order.

    Raises
    ------
    DatasetError: no common image, part or visible pair; an image or part predicted twice; a scale of zero.
    OptionError: an option has an unknown value.
    """
    about = _check_info(info or {})
    if fallback not in (None, "image", "box"):
        raise OptionError(f"fallback must be 'image' or 'box', not {fallback!r}.")
    if on_error not in ("raise", "skip"):
        raise OptionError(f"on_error must be 'raise' or 'skip', not {on_error!r}.")
    reference: Frame = fallback or ("image" if about["region"] == "image" else "box")
    parts, notes = common_parts(predictions, dataset)
    rows, guess_rows, more = common_images(predictions, dataset)
    notes += more

    columns = [dataset.parts.index(name) for name in parts]
    points, boxes, sizes = dataset.points[rows], dataset.boxes[rows], dataset.sizes[rows]
    ids = tuple(dataset.samples[i].id for i in rows)
    scale = metrics.make_scale(
        normaliser, ids=ids, sizes=sizes, boxes=boxes, points=points, parts=dataset.parts, on_error=on_error
    )
    # The stand-in for a box, and the distance between two parts, need all annotated parts; the errors the common ones.
    sides = metrics.boxes_or_parts(boxes, points)[0][:, 2:]
    points = points[:, columns]
    visible = np.asarray(np.isfinite(points).all(axis=2))
    seen = np.asarray(visible.any(axis=1))
    keep = np.flatnonzero(seen & np.isfinite(scale.diagonal))
    if not seen.all():
        notes.append(f"images without a visible part, counted nowhere: {int((~seen).sum())}")
    if not keep.size:
        raise DatasetError(
            f"{dataset.name}: none of the {len(ids)} predicted images has a visible part and a scale, so there is "
            "nothing to evaluate; check the annotations and the normaliser."
        )
    ids = tuple(ids[i] for i in keep)
    points, boxes, sizes, sides = points[keep], boxes[keep], sizes[keep], sides[keep]
    diagonal, axes, reach = scale.diagonal[keep], scale.axes[keep], scale.reach[keep]
    guess_columns = np.array([predictions.parts.index(name) for name in parts])
    take = np.ix_(np.array(guess_rows)[keep], guess_columns)
    found, guess, score = predictions.found[take], predictions.points[take], predictions.score[take]

    visible = visible[keep]
    known = prior.aligned(parts) if prior is not None else None
    fills = {kind: _fill(known, kind, sizes, boxes, points) for kind in ("image", "box")}
    notes += _charge_notes(visible & ~found, fills[reference], reference)
    filled = np.where(found[..., None], guess, fills[reference].position)
    errors = metrics.diagonal_error(filled, points, diagonal)
    axes_errors = metrics.axes_error(filled, points, axes)
    prior_errors: dict[str, FloatArray | None] = {"image": None, "box": None}
    for kind, fill in fills.items():
        if known is not None and (kind == "image" or (known.has_box and np.isfinite(boxes).any())):
            prior_errors[kind] = metrics.diagonal_error(fill.position, points, diagonal)
            charged = int((visible & fill.corner).sum())
            if charged:
                notes.append(
                    f"the {kind} prior has no position for {charged} visible parts and is charged the distance to the "
                    "farthest image corner there"
                )
    if prior_errors[reference] is None:
        notes.append(f"there is no prior relative to the {reference}, so there is no skill")

    # Draws follow the ids, so that the same images in another order give the same interval.
    order = np.argsort(np.array(ids))
    quantities = np.concatenate([axes_errors[:, None], metrics.total_and_parts(errors)], axis=1)[order]
    intervals = metrics.percentile_interval(metrics.resampled_means(quantities, draws, random_state))
    pairs = _side_pairs(dataset, parts)
    shown = np.where(found[..., None], guess, np.nan)
    distances = np.hypot(*np.moveaxis(filled - points, 2, 0))
    return Evaluation(
        parts=parts,
        ids=ids,
        errors=errors,
        axes_errors=axes_errors,
        distances=distances,
        found=found & visible,
        scale=diagonal,
        reach=reach,
        prior_errors=prior_errors,
        reference=reference,
        intervals={
            "axes": intervals[:, 0],
            "diagonal": intervals[:, 1],
            "parts": intervals[:, 2:],
        },
        exchanged=metrics.exchanged_sides(shown, points, pairs, np.hypot(sides[:, 0], sides[:, 1])),
        wrong_side=metrics.wrong_sides(np.where(found, score, 0.0), visible, pairs),
        score=np.where(found, score, 0.0),
        expected_error=None
        if predictions.expected_error is None
        else predictions.expected_error[take] / diagonal[:, None],
        overlap=None
        if predictions.boxes is None
        else metrics.box_overlap(predictions.boxes[np.array(guess_rows)[keep]], boxes),
        oks=None if sigmas is None else metrics.oks(distances, sides.prod(axis=1), _sigmas(sigmas, parts)),
        normaliser=normaliser,
        info=about,
        notes=(*dataset.notes, *scale.notes, *notes),
        skipped=(*dataset.skipped, *scale.left_out),
        failures=predictions.failures,
    )


def _check_info(info: Mapping[str, Any]) -> dict[str, Any]:
    for key in info:
        if key not in INFO_KEYS:
            raise OptionError(f"info has the unknown key {key!r}; it may have {', '.join(INFO_KEYS)}.")
    about = {key: info.get(key) for key in INFO_KEYS}
    about["region"] = about["region"] or "image"
    if about["region"] not in _REGIONS:
        raise OptionError(f"the region must be one of {', '.join(_REGIONS)}, not {about['region']!r}.")
    return about


class _Fill(NamedTuple):
    """Positions for parts that were not found."""

    position: FloatArray  # (N, P, 2) pixels, finite for every visible part
    corner: BoolArray  # (N, P): the farthest image corner, for want of a prior
    stand_in: BoolArray  # (N, P): relative to the image, for want of a box or of a prior relative to it


def _fill(
    prior: StaticPrior | None, kind: str, sizes: FloatArray, boxes: FloatArray, points: FloatArray
) -> _Fill:
    farthest = np.where(points < sizes[:, None] / 2, sizes[:, None], 0.0)
    nowhere = np.zeros(points.shape[:2], dtype=np.bool_)
    if prior is None:
        return _Fill(farthest, ~nowhere, nowhere)
    position, stand_in = prior.positions(sizes, kind="image"), nowhere
    if kind == "box":
        in_box = prior.positions(sizes, boxes, kind="box")
        position = np.where(np.isfinite(in_box), in_box, position)
        stand_in = np.isnan(in_box[..., 0]) & np.isfinite(position[..., 0])
    corner = np.isnan(position[..., 0])
    return _Fill(np.where(corner[..., None], farthest, position), corner, stand_in)


def _charge_notes(missing: BoolArray, fill: _Fill, kind: str) -> list[str]:
    total = int(missing.sum())
    if not total:
        return []
    charged, stand_in = int((missing & fill.corner).sum()), int((missing & fill.stand_in).sum())
    note = f"visible parts not found: {total}; given the {kind} prior's position: {total - charged}"
    if stand_in:
        note += f" (for want of a box the image prior's: {stand_in})"
    if charged:
        note += f"; for want of a prior charged the distance to the farthest image corner: {charged}"
    return [note]


def _side_pairs(dataset: PartDataset, parts: Sequence[str]) -> list[tuple[int, int]]:
    index = {name: i for i, name in enumerate(parts)}
    names = [(dataset.parts[i], dataset.parts[j]) for i, j in enumerate(dataset.mirror.tolist()) if i < j]
    return [(index[left], index[right]) for left, right in names if left in index and right in index]


def _sigmas(sigmas: Mapping[str, float], parts: Sequence[str]) -> FloatArray:
    missing = [name for name in parts if name not in sigmas]
    if missing:
        raise OptionError(f"OKS needs a sigma for every part; there is none for {missing[0]!r}.")
    return np.array([sigmas[name] for name in parts], dtype=np.float64)
