"""Weighted EM for two Gaussian components on many point sets at once.

The logarithm of a component's share times its density is a polynomial in the monomials (1, x, y, x², y², xy), and all that
the M-step needs are the weighted sums of the same six monomials. Kept as one (6, n) matrix per point set, they make

- the E-step a product with the difference of the two components' coefficients, and a sigmoid;
- the M-step a product with one component's weighted responsibilities, and closed-form 2×2 algebra on a few numbers per set.

The likelihood, whose logarithm costs as much as all the rest of a step, is only computed where the stopping rule can depend on
it: a step raises it by at least as much as the expected complete-data log-likelihood (Dempster, Laird and Rubin 1977), which is
linear in the moments and comes for nothing. As long as that alone reaches the tolerance the step cannot have been the last.

Parameters of M sets are (M, 2, 6): share, mean x, mean y, and the covariance's xx, yy, xy. Coordinates are relative to each
set's weighted mean, the pivot: about a distant origin float32 would lose half its digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

#: Points that are worked on at a time: few enough for a CPU's caches, enough for a GPU.
_POINTS_AT_ONCE = {"cpu": 2**18, "cuda": 2**23}
#: Share of finished sets among those worked on at which they are replaced; the work on them until then is lost.
_IDLE = 1 / 8


@dataclass
class Fitted:
    """Parameters (M, 2, 6), log-likelihood of the last E-step (M,) and number of steps (M,)."""

    parameters: Tensor
    log_likelihood: Tensor
    steps: Tensor


@torch.no_grad()
def fit_two_components(
    points: Tensor, weights: Tensor, floor: float, tolerance: float, max_iterations: int
) -> Fitted:
    """Run EM on all sets, each until its weighted mean log-likelihood grows by less than the tolerance.

    Parameters
    ----------
    points: (M, n, 2). weights: (M, n), not negative; only their ratios matter. floor: added to the variances.
    max_iterations: most steps; 0 returns the start.

    Returns
    -------
    A set without weight has a share of one half, means of NaN and a log-likelihood of -inf.
    """
    count = len(points)
    fitted = Fitted(
        points.new_tensor([0.5, math.nan, math.nan, floor, floor, 0]).repeat(count, 2, 1),
        points.new_full((count,), -math.inf),
        torch.zeros(count, dtype=torch.long, device=points.device),
    )
    waiting = torch.nonzero(weights.sum(dim=1) > 0).flatten()
    if max_iterations < 1:
        start = _Work.load(points, weights, waiting, floor)
        start.record(fitted, torch.arange(len(waiting), device=points.device))
        return fitted
    at_once = _POINTS_AT_ONCE.get(points.device.type, _POINTS_AT_ONCE["cpu"])
    size = max(1, at_once // max(1, points.shape[1]))
    work, waiting = _Work.load(points, weights, waiting[:size], floor), waiting[size:]
    # The two large intermediate results have a place of their own: new memory in every step costs more than what is computed.
    scratch = points.new_empty(2, len(work.rows), 1, points.shape[1])
    idle = 0
    while idle < len(work.rows):
        finished = work.step(scratch, floor, tolerance, max_iterations)
        if not len(finished):
            continue
        work.record(fitted, finished)
        idle += len(finished)
        if idle >= _IDLE * len(work.rows):
            fresh, waiting = waiting[:idle], waiting[idle:]
            if len(fresh):
                work.replace(_Work.load(points, weights, fresh, floor))
            if len(fresh) < idle:
                work = work.running()
            idle = 0
    return fitted


@dataclass
class _Work:
    """The k sets that are worked on; every tensor has k as its first dimension.

    rows: which sets they are. monomials: (k, 6, n). weights: (k, n), sum 1. pivot: (k, 2). moments: (k, 6) of the whole set.
    parameters: (k, 2, 6). coefficients: (k, 2, 6) of the monomials. log_likelihood: at the last E-step, -inf where it was not
    computed. steps: taken so far. live: not finished.
    """

    rows: Tensor
    monomials: Tensor
    weights: Tensor
    pivot: Tensor
    moments: Tensor
    parameters: Tensor
    coefficients: Tensor
    log_likelihood: Tensor
    steps: Tensor
    live: Tensor

    @classmethod
    def load(cls, points: Tensor, weights: Tensor, rows: Tensor, floor: float) -> _Work:
        """Start on some sets."""
        points, weights = points.index_select(0, rows), weights.index_select(0, rows)
        weights = weights / weights.sum(dim=1, keepdim=True)
        pivot = torch.bmm(weights.unsqueeze(1), points)
        monomials = points.new_empty(len(rows), 6, points.shape[1])
        monomials[:, 0] = 1
        torch.sub(points.mT, pivot.mT, out=monomials[:, 1:3])
        torch.mul(monomials[:, 1:3], monomials[:, 1:3], out=monomials[:, 3:5])
        torch.mul(monomials[:, 1], monomials[:, 2], out=monomials[:, 5])
        moments = _wide(torch.bmm(weights.unsqueeze(1), monomials.mT)[:, 0])
        parameters = _start(moments, floor)
        return cls(
            rows,
            monomials,
            weights,
            pivot[:, 0],
            moments,
            parameters,
            _coefficients(parameters),
            torch.full_like(moments[:, 0], -math.inf),
            torch.zeros_like(rows),
            torch.ones_like(rows, dtype=torch.bool),
        )

    def step(self, scratch: Tensor, floor: float, tolerance: float, max_iterations: int) -> Tensor:
        """Take one EM step on every set and return the positions of those that it finished; scratch: (2, ≥ k, 1, n)."""
        difference, responsible = scratch[:, : len(self.rows)].unbind()
        # The lighter component's moments are summed, the heavier one's are the rest of the whole: half the work, and both
        # keep their digits.
        heavy, light = self.coefficients.unbind(dim=1)
        swapped = (self.parameters[:, 0, 0] < self.parameters[:, 1, 0]).unsqueeze(1)
        heavy, light = torch.where(swapped, light, heavy), torch.where(swapped, heavy, light)
        torch.bmm((light - heavy).to(self.monomials.dtype).unsqueeze(1), self.monomials, out=difference)
        torch.sigmoid(difference, out=responsible)
        responsible[:, 0] *= self.weights
        second = _wide(torch.bmm(responsible, self.monomials.mT)[:, 0])
        second = torch.where(swapped, self.moments - second, second)
        moments = torch.stack((self.moments - second, second), dim=1)

        before = self.coefficients
        self.parameters = _maximise(moments, floor)
        self.coefficients = _coefficients(self.parameters)
        self.steps += 1
        bound = ((self.coefficients - before) * moments).sum(dim=(1, 2))
        last = self.steps >= max_iterations
        asked = torch.nonzero(((bound < tolerance) | last) & self.live).flatten()
        earlier = self.log_likelihood
        self.log_likelihood = torch.full_like(earlier, -math.inf)
        if not len(asked):
            return asked
        # log(e^h + e^l) = h + softplus(l − h); the mean of h, a polynomial, follows from the moments.
        excess = torch.nn.functional.softplus(difference[:, 0].index_select(0, asked))
        excess = excess.mul_(self.weights.index_select(0, asked)).sum(dim=1)
        now = _wide(excess) + (heavy[asked] * self.moments[asked]).sum(dim=1)
        self.log_likelihood[asked] = now
        return asked[(now - earlier[asked] < tolerance) | last[asked]]

    def record(self, fitted: Fitted, finished: Tensor) -> None:
        """Write what was found on finished sets, and count them as idle."""
        rows = self.rows[finished]
        fitted.parameters[rows] = self.parameters[finished].to(fitted.parameters.dtype)
        fitted.parameters[rows, :, 1:3] += self.pivot[finished].unsqueeze(1)
        fitted.log_likelihood[rows] = self.log_likelihood[finished].to(fitted.log_likelihood.dtype)
        fitted.steps[rows] = self.steps[finished]
        self.live[finished] = False

    def replace(self, fresh: _Work) -> None:
        """Put new sets in the place of idle ones."""
        places = torch.nonzero(~self.live).flatten()[: len(fresh.rows)]
        for field in fields(self):
            getattr(self, field.name).index_copy_(0, places, getattr(fresh, field.name))

    def running(self) -> _Work:
        """Return the sets that are not finished."""
        places = torch.nonzero(self.live).flatten()
        return _Work(*(getattr(self, field.name).index_select(0, places) for field in fields(self)))


def _wide(values: Tensor) -> Tensor:
    """The few numbers per set are worked on in float64, where the device has it."""
    return values if values.device.type == "mps" else values.double()


#: Standard deviation of the narrow component at the start, in those of the whole set; chosen on training images.
_NARROW = 1 / 3


def _start(moments: Tensor, floor: float) -> Tensor:
    """Two concentric components at the mean: a narrow one, which is to find the object, and one as wide as the whole set."""
    whole = _maximise(moments, 0.0)
    half = torch.full_like(whole[:, :1], 0.5)
    mean, variances, covariance = whole[:, 1:3], whole[:, 3:5], whole[:, 5:]
    return torch.stack(
        [torch.cat((half, mean, variances * f + floor, covariance * f), dim=-1) for f in (_NARROW**2, 1)],
        dim=1,
    )


def _maximise(moments: Tensor, floor: float) -> Tensor:
    """M-step: parameters (..., 6) from the weighted sums of the monomials per component, where a set's weights sum to 1."""
    # A component that lost all its points is left with no share, at the pivot.
    share = moments[..., :1].clamp_min(torch.finfo(torch.float32).tiny)
    scaled = moments[..., 1:] / share
    mean, squares, product = scaled[..., :2], scaled[..., 2:4], scaled[..., 4:]
    # Exact variances cannot be negative, rounded ones can.
    variances = torch.addcmul(squares, mean, mean, value=-1).clamp_min_(0).add_(floor)
    covariance = torch.addcmul(product, mean[..., :1], mean[..., 1:], value=-1)
    return torch.cat((share, mean, variances, covariance), dim=-1)


def _coefficients(parameters: Tensor) -> Tensor:
    """Coefficients of the monomials in log(share · density), (..., 6)."""
    share, mean, variances, covariance = parameters.split_with_sizes((1, 2, 2, 1), dim=-1)
    determinant = variances[..., :1] * variances[..., 1:] - covariance * covariance
    # The precision matrix is [[c, −b], [−b, a]] / determinant.
    diagonal, other = variances.flip(-1) / determinant, covariance / determinant
    pulled = torch.addcmul(diagonal * mean, other, mean.flip(-1), value=-1)
    # log share − ½ log determinant − ½ mean·precision·mean − log 2π
    constant = torch.log(share * share / determinant) - (pulled * mean).sum(dim=-1, keepdim=True)
    constant = constant / 2 - math.log(2 * math.pi)
    return torch.cat((constant, pulled, diagonal / -2, other), dim=-1)
