"""A small heat-map head trained by gradient descent on the feature maps that the linear detector sees.

- `"1x1"`: one linear map of the same features, context included: the very functions that the closed form chooses from.
- `"3x3"`: each layer reduced to 64 channels, brought to the common grid, summed, then two convolutions with ReLU. It sees
  more and is not linear.

Features are divided by their spread. Five heads are trained, each with a fifth of the images left out, which stops its
training; an image's map is the mean of the five, and the fifths left out give the held-out maps that an arrangement of parts is
learned from. Loss, learning rate and the soft maximum's sharpness are those with the smallest error on the first fifth.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from partscope.arrangement import Arrangement
from partscope.grids import FeatureGrids
from pictures import FloatArray, Pictures

FOLDS = 5
BATCH = 8
HIDDEN = 64
#: The heat map's width, in cells.
SIGMA = 1.0
#: "heat map": cross-entropy between the map's softmax and a Gaussian; "distance": the error itself, of the softmax's mean.
LOSSES = ("heat map", "distance")
#: Adam's learning rates. Weight decay changes nothing beside the early stop.
RATES = (3e-4, 3e-3)
DECAY = 1e-2
SHARPNESSES = (0.5, 1.0, 2.0, 4.0)


class Head(nn.Module):
    """From feature maps to P maps on the common grid.

    Parameters
    ----------
    kind: `"1x1"` or `"3x3"`.
    moments: of each layer, mean and spread of its channels over the training cells, (2, K_l).
    """

    def __init__(self, grids: FeatureGrids, parts: int, kind: str, moments: Sequence[Tensor]) -> None:
        super().__init__()
        self.grids = grids if kind == "1x1" else FeatureGrids(grids.backbone, grids.layers)
        self.outputs = parts if kind == "1x1" else HIDDEN
        self.moments = [*moments]
        self.weights = nn.ParameterList()
        self.bias = nn.Parameter(torch.zeros(self.outputs, 1, 1))
        for layer, (channels, _, _) in zip(grids.layers, grids.shapes, strict=True):
            taps = len(self.grids.places(layer))
            start = torch.zeros(taps * self.outputs, channels)
            if kind != "1x1":
                nn.init.normal_(start, std=channels**-0.5)
            self.weights.append(nn.Parameter(start))
        self.rest = nn.Sequential()
        if kind != "1x1":
            self.rest = nn.Sequential(
                nn.ReLU(),
                nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(HIDDEN, parts, 3, padding=1),
            )
        rows, columns = self.grids.grid
        cells = torch.from_numpy(self.grids.cell_centres()).float().reshape(1, rows, columns, 2)
        self.places = [
            (cells + torch.from_numpy(self.grids.places(layer)).float().reshape(-1, 1, 1, 2)) * 2 - 1
            for layer in self.grids.layers
        ]

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Maps (N, P, h, w) from each layer's (N, K_l, h_l, w_l)."""
        total = self.bias[None]
        for features, (mean, spread), weights, places in zip(
            layers, self.moments, self.weights, self.places, strict=True
        ):
            scaled = (features - mean[:, None, None]) / spread[:, None, None]
            own = torch.einsum("ok,nkhw->nohw", weights, scaled)
            own = own.unflatten(1, (len(places), self.outputs))
            for tap, place in enumerate(places):
                at = place.expand(len(features), -1, -1, -1)
                total = total + functional.grid_sample(
                    own[:, tap], at, align_corners=False, padding_mode="border"
                )
        return self.rest(total)  # type: ignore[no-any-return]


def soft_points(maps: Tensor, sharpness: float = 1.0) -> Tensor:
    """Mean place (N, P, 2) under the softmax of sharpness · map, as shares of the image."""
    rows, columns = maps.shape[2:]
    share = functional.softmax(sharpness * maps.flatten(2), dim=2).unflatten(2, (rows, columns))
    x = (torch.arange(columns) + 0.5) / columns
    y = (torch.arange(rows) + 0.5) / rows
    return torch.stack([(share.sum(2) * x).sum(-1), (share.sum(3) * y).sum(-1)], dim=-1)


def loss_of(maps: Tensor, points: Tensor, visible: Tensor, unit: Tensor, kind: str) -> Tensor:
    """Mean loss over the visible parts.

    Parameters
    ----------
    points: (N, P, 2) as shares of the image, anything where not visible.
    unit: (N, 2) size of the image over the length that errors are divided by.
    """
    if kind == "distance":
        away = (soft_points(maps) - points) * unit[:, None]
        # Not the root of 0, whose slope is infinite.
        return (away.square().sum(-1) + 1e-6).sqrt()[visible].mean()
    rows, columns = maps.shape[2:]
    x = (torch.arange(columns) + 0.5 - points[..., :1] * columns).square()
    y = (torch.arange(rows) + 0.5 - points[..., 1:] * rows).square()
    target = functional.softmax(-(y[..., :, None] + x[..., None, :]).flatten(2) / (2 * SIGMA**2), dim=2)
    return -(target * functional.log_softmax(maps.flatten(2), dim=2)).sum(-1)[visible].mean()


@dataclass
class Training:
    """One head, and the smallest error on the images left out."""

    head: Head
    error: float
    sharpness: float
    epochs: int


def train_head(
    train: Pictures, held: Pictures, kind: str, loss: str, rate: float, epochs: int, patience: int, seed: int
) -> Training:
    """Train with Adam until the error on `held` has not become smaller for `patience` epochs."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    head = Head(train.grids, train.points.shape[1], kind, _moments(train))
    optimiser = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=DECAY)
    points = torch.from_numpy(np.nan_to_num(train.points)).float()
    visible = torch.from_numpy(train.visible)
    unit = torch.from_numpy(train.sizes / train.lengths[:, None]).float()
    best = Training(head, float("inf"), 1.0, 0)
    for epoch in range(1, epochs + 1):
        order = rng.permutation(len(train))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            if not visible[rows].any():
                continue
            value = loss_of(head(_batch(train, rows)), points[rows], visible[rows], unit[rows], loss)
            optimiser.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        maps = head_maps([head], held)
        errors = {s: float(np.nanmean(held.errors(soft(maps, s)))) for s in SHARPNESSES}
        sharpness = min(errors, key=lambda s: errors[s])
        if errors[sharpness] < best.error:
            best = Training(copy.deepcopy(head), errors[sharpness], sharpness, epoch)
        elif epoch - best.epochs >= patience:
            break
    return best


def _moments(pictures: Pictures) -> list[Tensor]:
    moments = []
    for layer in range(len(pictures.grids.layers)):
        cells = torch.cat([maps[layer].float().flatten(1)[:, ::5] for maps in pictures.maps], dim=1)
        moments.append(torch.stack([cells.mean(dim=1), cells.std(dim=1) + 1e-6]))
    return moments


def _batch(pictures: Pictures, rows: NDArray[np.intp]) -> list[Tensor]:
    layers = range(len(pictures.grids.layers))
    return [torch.stack([pictures.maps[row][layer] for row in rows]).float() for layer in layers]


@torch.no_grad()
def head_maps(heads: Sequence[Head], pictures: Pictures) -> NDArray[np.float32]:
    """Mean map (N, P, h, w) of several heads."""
    pieces = []
    for start in range(0, len(pictures), BATCH):
        batch = _batch(pictures, np.arange(start, min(start + BATCH, len(pictures))))
        pieces.append(torch.stack([head(batch) for head in heads]).mean(0))
    return torch.cat(pieces).numpy()


def soft(maps: NDArray[np.float32], sharpness: float) -> FloatArray:
    return soft_points(torch.from_numpy(maps), sharpness).double().numpy()


@dataclass(frozen=True, eq=False)
class TrainedHeads:
    """Five heads, the arrangement learned from their held-out maps, and what was chosen.

    Parameters
    ----------
    heads: their mean map is used.
    sharpness: of the soft maximum, the mean of the five.
    arrangement: or None, where too few images are held out.
    facts: JSON-ready.
    """

    heads: list[Head]
    sharpness: float
    arrangement: Arrangement | None
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        train: Pictures,
        kind: str,
        *,
        epochs: int = 40,
        patience: int = 5,
        settings: dict[str, Any] | None = None,
    ) -> TrainedHeads:
        """Choose loss and learning rate, unless `settings` gives them, and train a head per fifth."""
        fold = np.arange(len(train)) % FOLDS
        inside = [np.flatnonzero(fold != f) for f in range(FOLDS)]
        outside = [np.flatnonzero(fold == f) for f in range(FOLDS)]

        def run(f: int, chosen: dict[str, Any]) -> Training:
            return train_head(
                train.take(inside[f]), train.take(outside[f]), kind, chosen["loss"], chosen["rate"], epochs, patience, f
            )  # fmt: skip

        tried: dict[str, float] = {}
        first: tuple[dict[str, Any], Training] | None = None
        for loss, rate in product(LOSSES, RATES) if settings is None else ():
            one = {"loss": loss, "rate": rate}
            result = run(0, one)
            tried[f"{loss}, rate {rate:g}"] = result.error
            if first is None or result.error < first[1].error:
                first = one, result
        chosen = settings if first is None else first[0]
        assert chosen is not None
        runs = [run(0, chosen) if first is None else first[1]]
        runs += [run(f, chosen) for f in range(1, FOLDS)]
        held = np.zeros((len(train), train.points.shape[1], *train.grids.grid), np.float32)
        for f, one_run in enumerate(runs):
            held[outside[f]] = head_maps([one_run.head], train.take(outside[f]))
        arrangement = Arrangement.fit(train.points, train.visible, train.sizes, train.mirror, held)
        facts = {
            **chosen,
            "tried": tried,
            "epochs": [one_run.epochs for one_run in runs],
            "held-out error": float(np.mean([one_run.error for one_run in runs])),
        }
        sharpness = float(np.mean([one_run.sharpness for one_run in runs]))
        return cls([one_run.head for one_run in runs], sharpness, arrangement, facts)

    def locate(self, pictures: Pictures) -> tuple[FloatArray, FloatArray]:
        """Points (M, P, 2) relative to the image: of each part alone, and by the arrangement."""
        maps = head_maps(self.heads, pictures)
        alone = soft(maps, self.sharpness)
        if self.arrangement is None:
            return alone, alone
        arranged = [
            self.arrangement.infer(one, size).points for one, size in zip(maps, pictures.sizes, strict=True)
        ]
        return alone, np.clip(arranged, 0.0, 1.0)
