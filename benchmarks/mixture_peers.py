"""The mixtures of pomegranate and scikit-learn, brought into line with ours; see mixture.py."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from pomegranate.distributions import Normal
from pomegranate.gmm import GeneralMixtureModel
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from partscope.centres import Mixture, PointSets

FLOOR = 0.5


class FlooredNormal(Normal):  # type: ignore[misc]
    """A Gaussian whose M-step adds to the diagonal of the covariance."""

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        super().__init__(mean, covariance, covariance_type="full", check_data=False)
        self.extra = FLOOR * torch.eye(2)

    def from_summaries(self) -> None:
        mean = self._xw_sum / self._w_sum
        self.means[...] = mean
        self.covs[...] = self._xxw_sum / self._w_sum - torch.outer(mean, mean) + self.extra
        self._reset_cache()


class WeightedMixture(GeneralMixtureModel):  # type: ignore[misc]
    """A mixture whose E-step returns the weighted log-likelihood."""

    def summarize(self, X: Tensor, sample_weight: Tensor, priors: Tensor | None = None) -> Tensor:
        joint = self._emission_matrix(X, priors=priors)
        log_likelihood = torch.logsumexp(joint, dim=1, keepdim=True)
        responsible = torch.exp(joint - log_likelihood)
        for j, component in enumerate(self.distributions):
            weight = responsible[:, j : j + 1] * sample_weight
            component.summarize(X, weight)
            self._w_sum[j] += weight.sum()
        return torch.sum(log_likelihood * sample_weight)


@dataclass
class Peer:
    """What pomegranate found on one map."""

    centre: Tensor
    share: Tensor
    steps: int


@torch.no_grad()
def fit_peer(
    sets: PointSets, start: Mixture, i: int, tolerance: float, most: int, steps: int | None = None
) -> Peer:
    """Fit map i with pomegranate; `steps` fixes the number of steps instead of the tolerance."""
    model = WeightedMixture(
        [FlooredNormal(start.mean[i, j].clone(), start.covariance[i, j].clone()) for j in (0, 1)],
        priors=start.share[i].clone(),
        check_data=False,
    )
    points, weights = sets.points[i], sets.weights[i, :, None]
    earlier = -math.inf
    done = 0
    while done < (steps or most):
        done += 1
        now = float(model.summarize(points, weights))
        model.from_summaries()
        if steps is None and now - earlier < tolerance:
            break
        earlier = now
    heavier = int(model.priors[1] > model.priors[0])
    return Peer(model.distributions[heavier].means.clone(), model.priors.clone(), done)


def fit_unweighted_peer(points: Any, start: Mixture, i: int, tolerance: float, most: int) -> Any:
    """Fit the points (n, 2) of map i with scikit-learn, from our start."""
    model = GaussianMixture(
        2,
        tol=tolerance,
        reg_covar=FLOOR,
        max_iter=most,
        weights_init=start.share[i].double().numpy(),
        means_init=start.mean[i].double().numpy(),
        precisions_init=torch.linalg.inv(start.covariance[i].double()).numpy(),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(points)
