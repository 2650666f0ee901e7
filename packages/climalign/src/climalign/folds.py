"""Rolling folds with an embargo, as the paper tests: train on what came before, test on what follows."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from climalign.config import SplitConfig
from isopleth.errors import DataError

# The paper's: the last 730 days in five folds.
TEST_DAYS, FOLDS = 146, 5


def rolling_splits(
    days: NDArray[Any],
    *,
    folds: int = FOLDS,
    test_days: int = TEST_DAYS,
    validate_days: int = 365,
    embargo_days: int = 5,
) -> list[SplitConfig]:
    """Plan folds whose start of training moves along with the test days.

    Parameters
    ----------
    days : array of str, shape (time,)
        Dates of the days that both sources have, in order: any calendar will do.
    folds, test_days : int
        The last ``folds * test_days`` days are tested, each once.
    validate_days : int
        The last days before a test, which choose the weights.
    embargo_days : int
        Least number of days between training or validation and a test.

    Returns
    -------
    list of SplitConfig
        Statistics, as always, are of the training days alone.

    Raises
    ------
    DataError
        If nothing is left to train on.
    """
    tested = folds * test_days
    train_days = len(days) - tested - embargo_days - validate_days
    if train_days < 1:
        raise DataError(
            f"{folds} folds must leave days to train on, got {len(days)} days",
            hint=f"{tested + embargo_days + validate_days + 1} are the least: take fewer or shorter folds",
        )
    splits = []
    for fold in range(folds):
        test = len(days) - tested + fold * test_days
        last = test - embargo_days - 1
        validate = _period(days, last - validate_days + 1, last)
        train = _period(days, fold * test_days, last - validate_days)
        splits.append(
            SplitConfig(
                train_coarse=train,
                train_fine=train,
                validate_coarse=validate,
                validate_fine=validate,
                test=_period(days, test, test + test_days - 1),
                embargo_days=embargo_days,
            )
        )
    return splits


def _period(days: NDArray[Any], first: int, last: int) -> tuple[str, str]:
    return str(days[first]), str(days[last])
