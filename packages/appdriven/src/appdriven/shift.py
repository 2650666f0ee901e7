"""How far the test lies from the training: sizes of effects, and where the model has never been.

No p-value is given: with enough samples every difference is significant, with few none is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import spatial
from scipy.stats import energy_distance, wasserstein_distance

from isopleth.errors import DataError

_MOST = 4000
_FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class FeatureShift:
    """How one feature differs between training and test.

    Attributes
    ----------
    name : str
    wasserstein : float
        Distance of the two distributions in standard deviations of the training.
    energy : float
        Energy distance of the standardised values.
    mean_difference : float
        Test minus training, in standard deviations of the training.
    """

    name: str
    wasserstein: float
    energy: float
    mean_difference: float


@dataclass(frozen=True, kw_only=True)
class Shift:
    """The shift of all features.

    Attributes
    ----------
    features : tuple of FeatureShift
        The most shifted first.
    separability : float
        Area under the ROC curve of a classifier that tells test from training samples, on groups or blocks
        that it has not seen: 0.5 for no shift, 1 for no overlap.
    applicable : float
        Share of the test samples in the area of applicability.
    loss_inside, loss_outside : float, optional
        The model's mean squared error on either side of its border.
    """

    features: tuple[FeatureShift, ...]
    separability: float
    applicable: float
    loss_inside: float | None = None
    loss_outside: float | None = None


def measure_shift(
    train: np.ndarray,
    test: np.ndarray,
    names: tuple[str, ...],
    *,
    blocks: tuple[np.ndarray, np.ndarray] | None = None,
    squared_error: np.ndarray | None = None,
    seed: int = 0,
) -> Shift:
    """Measure the shift from training to test.

    Parameters
    ----------
    train, test : array, shape (sample, feature)
        NaN is put at the training mean.
    names : tuple of str
    blocks : (array, array), optional
        Labels of what stands or falls together on either side, kept whole when the classifier is tested.
    squared_error : array, shape (test sample,), optional
        Of the model.
    seed : int
        Of the subsets of at most 4,000 samples a side that distances are measured on.
    """
    if not names or train.shape[1:] != test.shape[1:]:
        raise DataError(f"a shift needs features of one kind, got {train.shape[1:]} and {test.shape[1:]}")
    mean, spread = np.nanmean(train, axis=0), np.nanstd(train, axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    ours, theirs = (np.nan_to_num((side - mean) / spread) for side in (train, test))
    inside = is_applicable(ours, theirs, seed=seed)
    losses: list[float | None] = [None, None]
    if squared_error is not None:
        losses = [float(squared_error[part].mean()) if part.any() else None for part in (inside, ~inside)]
    features = [_shift_of(name, ours[:, number], theirs[:, number]) for number, name in enumerate(names)]
    return Shift(
        features=tuple(sorted(features, key=lambda one: -one.wasserstein)),
        separability=_separability(ours, theirs, blocks, seed),
        applicable=float(inside.mean()),
        loss_inside=losses[0],
        loss_outside=losses[1],
    )


def _shift_of(name: str, ours: np.ndarray, theirs: np.ndarray) -> FeatureShift:
    return FeatureShift(
        name=name,
        wasserstein=float(wasserstein_distance(ours, theirs)),
        energy=float(energy_distance(ours, theirs)),
        mean_difference=float(theirs.mean() - ours.mean()),
    )


def is_applicable(train: np.ndarray, test: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Return which test samples lie in the area of applicability.

    A sample's dissimilarity is its distance to the nearest training sample over the mean distance between
    training samples; it is inside if that is no more than the upper whisker (third quartile and one and a
    half interquartile ranges) of the training samples' own dissimilarity to the others (after Meyer and
    Pebesma 2021, Methods Ecol. Evol. 12, with equal weights of features and single samples left out).

    Parameters
    ----------
    train, test : array, shape (sample, feature)
        Standardised, finite.
    seed : int
        Of the subset of training samples that the mean distance is measured on.
    """
    generator = np.random.default_rng(seed)
    some = train if len(train) <= _MOST else train[generator.choice(len(train), _MOST, replace=False)]
    pairs = generator.integers(0, len(some), size=(2, 20_000))
    scale = float(np.linalg.norm(some[pairs[0]] - some[pairs[1]], axis=1).mean()) or 1.0
    tree = spatial.cKDTree(train)
    own = np.asarray(tree.query(some, k=2)[0])[:, -1] / scale
    low, high = np.quantile(own, [0.25, 0.75])
    whisker = own[own <= high + 1.5 * (high - low)].max()
    return np.asarray(tree.query(test)[0]) / scale <= whisker + 1e-12


def _separability(
    ours: np.ndarray, theirs: np.ndarray, blocks: tuple[np.ndarray, np.ndarray] | None, seed: int
) -> float:
    from sklearn.ensemble import HistGradientBoostingClassifier  # type: ignore[import-untyped]
    from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]
    from sklearn.model_selection import StratifiedGroupKFold  # type: ignore[import-untyped]

    generator = np.random.default_rng(seed)
    rows = [np.sort(generator.permutation(len(side))[:_MOST]) for side in (ours, theirs)]
    x = np.concatenate([ours[rows[0]], theirs[rows[1]]])
    y = np.repeat([0, 1], [rows[0].size, rows[1].size])
    if blocks is None:
        group = np.concatenate(
            [np.arange(size) * _FOLDS * 4 // size for size in (rows[0].size, rows[1].size)]
        )
    else:
        labels = np.concatenate([blocks[0][rows[0]], blocks[1][rows[1]]])
        group = np.unique(labels, return_inverse=True)[1]
    chance = np.full(y.size, np.nan)
    for train, test in StratifiedGroupKFold(_FOLDS).split(x, y, group):
        if np.unique(y[train]).size == 2:
            model = HistGradientBoostingClassifier(max_iter=50, random_state=seed).fit(x[train], y[train])
            chance[test] = model.predict_proba(x[test])[:, 1]
    known = np.isfinite(chance)
    return float(roc_auc_score(y[known], chance[known])) if np.unique(y[known]).size == 2 else 0.5
