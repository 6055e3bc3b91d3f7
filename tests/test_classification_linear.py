"""Linear classifiers on rotated features: the same model as on the features themselves, and a stated choice of C."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from partscope.classification import linear
from partscope.classification.linear import fit_linear
from partscope.classification.rotation import rotated
from partscope.errors import DatasetError, OptionError, PartscopeError, PartscopeWarning


def made(
    classes: int = 3, images: int = 8, width: int = 200, noise: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat([f"c{k}" for k in range(classes)], images)
    means = rng.normal(size=(classes, width))
    return np.repeat(means, images, axis=0) + noise * rng.normal(size=(len(labels), width)) + 0.5, labels


def on_the_features(
    features: np.ndarray, labels: np.ndarray, classifier: str, C: float
) -> tuple[np.ndarray, np.ndarray]:
    if classifier == "svm":
        model = LinearSVC(C=C, dual=True, tol=1e-9, max_iter=200_000, random_state=0).fit(features, labels)
    else:
        model = LogisticRegression(C=C, tol=1e-10, max_iter=20_000).fit(features, labels)
    return model.coef_, model.intercept_


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("width", [6, 200])
@pytest.mark.parametrize("classifier", ["svm", "logistic"])
def test_coefficients_are_those_of_the_features_themselves(classifier: str, width: int, classes: int) -> None:
    features, labels = made(classes, width=width, noise=2.0)
    model = fit_linear(features, labels, classifier=classifier, C=0.01)
    coef, intercept = on_the_features(features, labels, classifier, 0.01)
    if classes == 2:
        half = 2 if classifier == "logistic" else 1
        coef, intercept = np.vstack([-coef, coef]) / half, np.concatenate([-intercept, intercept]) / half
    assert model.coef.shape == (classes, width)
    np.testing.assert_allclose(model.coef, coef, atol=3e-3 * np.abs(coef).max())
    # Multinomial intercepts are determined up to a constant that changes no decision.
    shift = (model.intercept - intercept).mean() if classifier == "logistic" else 0.0
    np.testing.assert_allclose(
        model.intercept - shift, intercept, atol=5e-3 * max(1, np.abs(intercept).max())
    )


@pytest.mark.parametrize("classifier", ["svm", "logistic"])
def test_dependent_rows_and_constant_features(classifier: str) -> None:
    """Duplicates, a constant feature, a zero feature and one that repeats another: the Gram matrix is singular."""
    features, labels = made(3, 6, width=80, noise=2.0)
    features = np.vstack([features, features])
    labels = np.concatenate([labels, labels])
    features[:, 0], features[:, 1], features[:, 2] = 7.0, 0.0, features[:, 3]
    model = fit_linear(features, labels, classifier=classifier, C=0.01)
    coef, _ = on_the_features(features, labels, classifier, 0.01)
    np.testing.assert_allclose(model.coef, coef, atol=3e-3 * np.abs(coef).max())
    assert np.abs(model.coef[:, 1]).max() < 1e-12
    np.testing.assert_allclose(model.coef[:, 2], model.coef[:, 3], atol=1e-9)


@given(
    rows=st.integers(2, 12), width=st.integers(1, 40), rank=st.integers(1, 12), seed=st.integers(0, 10_000),
    scale=st.sampled_from([1e-4, 1.0, 1e4]), centred=st.booleans(),
)  # fmt: skip
def test_rotation_keeps_every_inner_product(
    rows: int, width: int, rank: int, seed: int, scale: float, centred: bool
) -> None:
    rng = np.random.default_rng(seed)
    features = scale * (rng.normal(size=(rows, rank)) @ rng.normal(size=(rank, width)) + 1)
    centre = features.mean(axis=0) if centred else np.zeros(width)
    coordinates, basis = rotated(features, centre)
    moved = features - centre
    size = np.abs(moved).max() ** 2 * width
    np.testing.assert_allclose(coordinates @ coordinates.T, moved @ moved.T, atol=1e-10 * size)
    assert coordinates.shape[1] <= max(rows, width)
    direction = rng.normal(size=(3, coordinates.shape[1]))
    back = direction if basis is None else basis.turned_back(direction)
    np.testing.assert_allclose(
        moved @ back.T, coordinates @ direction.T, atol=1e-6 * scale * np.abs(direction).max() * width
    )


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), classifier=st.sampled_from(["svm", "logistic"]))
def test_scores_follow_a_rotation_of_the_features(seed: int, classifier: str) -> None:
    features, labels = made(3, 5, width=30, seed=seed)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(30, 30)))[0]
    plain = fit_linear(features, labels, classifier=classifier, C=0.1)
    turned = fit_linear(features @ turn, labels, classifier=classifier, C=0.1)
    np.testing.assert_allclose(
        plain.decision_function(features), turned.decision_function(features @ turn), atol=2e-2
    )


def test_logistic_scores_are_log_odds() -> None:
    features, labels = made(2, 10, width=5, noise=3.0)
    reference = LogisticRegression(C=1.0, tol=1e-10, max_iter=5000).fit(features, labels)
    scores = fit_linear(features, labels, classifier="logistic", C=1.0).decision_function(features)
    odds = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(odds, reference.predict_proba(features), atol=2e-3)


@pytest.mark.parametrize("classifier", ["svm", "logistic"])
def test_c_follows_the_features_scale(classifier: str) -> None:
    features, labels = made(3, 10, width=60, noise=3.0)
    small = fit_linear(features, labels, classifier=classifier)
    large = fit_linear(100 * features, labels, classifier=classifier)
    assert [one.C for one in large.tried] == pytest.approx([one.C / 1e4 for one in small.tried])
    assert small.folds == 5
    assert all(one.images == 30 for one in small.tried)
    best = max(one.right for one in small.tried)
    assert small.C in [one.C for one in small.tried if one.right == best]
    assert small.record()["tried"][0]["accuracy"] == small.tried[0].right / 30


def test_the_search_ends_when_no_held_out_image_is_wrong() -> None:
    features, labels = made(3, 10, noise=0.01)
    model = fit_linear(features, labels)
    assert [one.accuracy for one in model.tried] == [1.0]
    assert model.tried[0].C == model.C


@pytest.mark.parametrize(("classifier", "size"), [("svm", 0.03), ("logistic", 0.1)])
def test_the_search_goes_on_while_held_out_images_get_better(classifier: str, size: float) -> None:
    """A small feature tells the classes apart, a large one only roughly: it takes a weak penalty to use the small one."""
    rng = np.random.default_rng(0)
    side = np.repeat([-1.0, 1.0], 60)
    features = np.column_stack([side + rng.normal(size=120), size * (side + 0.1 * rng.normal(size=120))])
    model = fit_linear(features, np.where(side < 0, "a", "b"), classifier=classifier)
    assert model.C == 100.0  # the spread rounds to 1
    assert [one.C for one in model.tried] == [10.0**e for e in range(linear.FIRST[classifier], 3)]
    assert model.tried[-1].right == 120 > model.tried[-2].right


@pytest.mark.parametrize("said", [True, False])
def test_an_image_and_its_mirror_image_share_a_fold(monkeypatch: pytest.MonkeyPatch, said: bool) -> None:
    features, labels = made(3, 4, noise=5.0)
    group = np.tile(np.arange(len(labels)), 2)
    mirrored = np.arange(len(group)) >= len(labels)
    seen = []
    original = linear._Problem.fit

    def watched(self, C, train):
        seen.append(train)
        return original(self, C, train)

    monkeypatch.setattr(linear._Problem, "fit", watched)
    model = fit_linear(
        np.vstack([features, features]), np.tile(labels, 2), groups=group, mirrored=mirrored if said else None
    )
    assert model.folds == 4
    assert all(one.images == len(labels) for one in model.tried)  # mirror images are not scored
    for train in seen[:-1]:
        held = np.setdiff1d(np.arange(len(group)), train)
        assert not set(group[train]) & set(group[held])
        # Four images per class in four folds: one of each class is held out, with its mirror image.
        assert sorted(np.tile(labels, 2)[held]) == sorted([*np.unique(labels)] * 2)
    assert len(seen[-1]) == len(group)


@pytest.mark.parametrize("seed", range(5))
def test_every_fold_trains_on_every_class(seed: int) -> None:
    """Classes of two to seven images, some without a mirror image."""
    rng = np.random.default_rng(seed)
    names = np.concatenate([[f"c{k}"] * n for k, n in enumerate(rng.integers(2, 8, size=12))])
    double = rng.random(len(names)) < 0.5
    group = np.concatenate([np.arange(len(names)), np.flatnonzero(double)])
    labels = names[group]
    features = rng.normal(size=(len(labels), 20))
    model = fit_linear(
        features, labels, groups=group, mirrored=np.arange(len(group)) >= len(names), random_state=seed
    )
    assert model.folds == min(5, np.unique(names, return_counts=True)[1].min())


@pytest.mark.parametrize("classifier", ["svm", "logistic"])
def test_the_same_seed_gives_the_same_model(classifier: str) -> None:
    features, labels = made(3, 7, noise=4.0)
    one, two = (
        fit_linear(features.astype(np.float32), labels, classifier=classifier, random_state=3)
        for _ in range(2)
    )
    np.testing.assert_array_equal(one.coef, two.coef)
    assert one.record() == two.record()


def test_fits_that_do_not_converge_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = made(3, 5, noise=4.0)
    monkeypatch.setattr(linear, "_MOST_ITERATIONS", {"svm": 1, "logistic": 1})
    with pytest.warns(
        PartscopeWarning, match=r"^\d+ of \d+ fits of the svm .* the final fit among them"
    ) as caught:
        model = fit_linear(features, labels)
    assert len(caught) == 1
    assert not model.converged
    assert sum(one.unconverged for one in model.tried) > 0


def test_an_easy_fit_is_silent() -> None:
    features, labels = made()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = fit_linear(features, labels)
    assert (model.predict(features) == labels).all()


FEATURES, LABELS = made(2, 3, width=5)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"labels": ["a"] * 6}, DatasetError, "one class"),
        ({"labels": ["a"] * 5 + ["b"]}, DatasetError, "fewer than two training images in the class 'b'"),
        ({"labels": ["a", "a", None, "b", "b", "b"]}, DatasetError, "row 2 has no label"),
        ({"labels": ["a", "b"]}, DatasetError, "2 labels for 6 rows"),
        ({"features": np.where(np.arange(30).reshape(6, 5) == 8, np.nan, 1.0)}, DatasetError, "feature 3 of row 1"),
        ({"features": np.ones((6, 5))}, DatasetError, "equal"),
        ({"features": np.full((6, 9), 1e-200) * np.arange(6)[:, None]}, DatasetError, "equal"),
        ({"features": np.ones(6)}, DatasetError, r"\(N, F\)"),
        ({"groups": [0, 0, 0, 1, 2, 3]}, DatasetError, "fewer than two training images in the class 'c0'"),
        ({"groups": [0, 1, 2, 0, 3, 4]}, DatasetError, "rows 0 and 3 are one group"),
        ({"groups": [0, 1]}, DatasetError, "groups"),
        ({"mirrored": [True, True, False, False, False, False]}, DatasetError, "images in the class 'c0'"),
        ({"mirrored": [True, True, True, False, False, False]}, DatasetError, "'c0' has mirror images only"),
        ({"mirrored": [True]}, DatasetError, "mirrored"),
        ({"classifier": "tree"}, OptionError, "svm, logistic"),
        ({"C": 0}, OptionError, "positive"),
        ({"C": float("inf")}, OptionError, "finite"),
    ],
)  # fmt: skip
def test_bad_input_is_named(changed: dict, error: type[PartscopeError], message: str) -> None:
    with pytest.raises(error, match=message):
        fit_linear(**{"features": FEATURES, "labels": LABELS, **changed})


def test_classes_may_be_numbers() -> None:
    model = fit_linear(FEATURES, [7, 7, 7, 3, 3, 3])
    assert model.classes == (3, 7)
    assert model.predict(FEATURES).tolist() == [7, 7, 7, 3, 3, 3]


def test_other_features_than_in_training_are_refused() -> None:
    model = fit_linear(FEATURES, LABELS)
    with pytest.raises(DatasetError, match="4 features where the classifier has 5"):
        model.predict(FEATURES[:, :4])
    assert model.decision_function(np.empty((0, 5))).shape == (0, 2)
