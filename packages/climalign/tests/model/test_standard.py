import numpy as np
import pytest
import torch

from climalign.config import FieldConfig
from climalign.model.standard import Standardiser
from isopleth.errors import DataError

MONTHS = np.repeat(np.arange(12), 5)


def temperatures():
    values = 280 + 10 * np.sin(MONTHS)[:, None, None] + np.random.default_rng(0).normal(size=(60, 3, 4))
    return values.astype(np.float32)


def rain():
    values = np.random.default_rng(1).gamma(0.4, 6.0, size=(60, 3, 4)) / 86400
    return values.astype(np.float32)


def fitted(kind, values, months=MONTHS, **options):
    scale = Standardiser(FieldConfig(kind=kind, **options), *values.shape[1:])
    scale.fit(values, months, "K" if kind == "temperature" else "kg m-2 s-1")
    return scale


def tensors(values, months=MONTHS):
    return torch.from_numpy(values), torch.from_numpy(months)


def test_temperature_round_trip_and_moments():
    values = temperatures()
    scale = fitted("temperature", values)
    given, months = tensors(values)
    numbers = scale.encode(given, months, torch.rand(given.shape))
    assert numbers.shape == (60, 1, 3, 4)
    assert numbers.std() == pytest.approx(1, abs=0.02)
    for month in range(12):
        assert numbers[months == month].mean(0).abs().max() < 1e-4
    torch.testing.assert_close(scale.decode(numbers, months), given)


def test_rain_round_trip_keeps_wet_days_and_dries_the_rest():
    values = rain()
    scale = fitted("precipitation", values)
    given, months = tensors(values)
    numbers = scale.encode(given, months, torch.rand(given.shape, generator=torch.Generator().manual_seed(0)))
    again = scale.decode(numbers, months)
    wet = values * 86400 >= 1
    np.testing.assert_allclose(again[wet], given[wet], rtol=1e-4)
    assert (again[~wet] == 0).all()
    roots = numbers * scale.scale + scale.mean
    dry = roots[:, 0][torch.from_numpy(~wet)]
    assert dry.min() >= 0
    assert dry.max() < 1
    assert dry.std() == pytest.approx(12**-0.5, abs=0.03)


def test_all_dry_fields_are_a_uniform_density_and_come_back_dry():
    values = np.zeros((60, 3, 4), dtype=np.float32)
    scale = fitted("precipitation", values)
    given, months = tensors(values)
    numbers = scale.encode(given, months, torch.rand(given.shape))
    assert torch.isfinite(numbers).all()
    assert numbers.std() > 0
    assert (scale.decode(numbers, months) == 0).all()


def test_negative_rain_is_none():
    scale = fitted("precipitation", rain())
    given = torch.full((1, 3, 4), -1e-6)
    assert (
        scale.decode(scale.encode(given, torch.tensor([0]), torch.rand(1, 3, 4)), torch.tensor([0])) == 0
    ).all()


def test_missing_stays_missing_and_is_no_part_of_the_statistics():
    values = temperatures()
    values[:, 0, 0] = np.nan
    values[3, 1, 1] = np.nan
    scale = fitted("temperature", values)
    assert not scale.valid[0, 0]
    assert scale.valid[1, 1]
    given, months = tensors(values)
    numbers = scale.encode(given, months, torch.rand(given.shape))
    assert torch.isnan(numbers[3, 0, 1, 1])
    assert torch.isfinite(numbers[4, 0, 1, 1])
    assert torch.isnan(scale.decode(torch.zeros(1, 1, 3, 4), torch.tensor([0]))[0, 0, 0])


def test_a_month_absent_from_training_is_refused_by_name():
    values = temperatures()
    scale = fitted("temperature", values[MONTHS != 6], MONTHS[MONTHS != 6])
    scale.check_months(torch.tensor([0, 5]))
    with pytest.raises(DataError, match="of month 7"):
        scale.check_months(torch.tensor([5, 6]))


def test_fields_without_a_value_are_refused():
    with pytest.raises(DataError, match="must have values"):
        fitted("temperature", np.full((60, 3, 4), np.nan, dtype=np.float32))


def test_rounding_is_undone_by_noise_of_one_step():
    values = np.round(temperatures())
    scale = fitted("temperature", values, rounding=1.0)
    given, months = tensors(values)
    first, second = (scale.encode(given, months, torch.rand(given.shape)) for _ in range(2))
    spread = (first - second).abs().max() * scale.scale
    assert 0.9 < spread <= 1.0001


def test_units_of_rain_are_known_or_refused():
    scale = Standardiser(FieldConfig(kind="precipitation"), 3, 4)
    with pytest.raises(DataError, match="'inches'"):
        scale.fit(rain(), MONTHS, "inches")
