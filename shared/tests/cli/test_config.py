"""Configs: plain forms, hashes, shipped names."""

from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import pytest
import yaml

from isopleth import config
from isopleth.errors import ConfigError, IsoplethError, MissingDependencyError, require


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True, kw_only=True)
class Inner:
    width: int = 1
    path: Path = Path("a/b")


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = Inner()
    levels: tuple[int, ...] = (500, 850)
    colour: Colour = Colour.RED
    note: str | None = None


def test_plain_form_survives_yaml():
    assert yaml.safe_load(config.to_yaml(Outer())) == config.to_dict(Outer())
    assert config.to_dict(Outer())["inner"] == {"width": 1, "path": "a/b"}


def test_hash_is_equal_exactly_for_equal_configs():
    assert config.config_hash(Outer()) == config.config_hash(Outer(levels=(500, 850)))
    assert config.config_hash(Outer()) != config.config_hash(replace(Outer(), note="x"))
    assert config.config_hash(Outer()) != config.config_hash(Outer(inner=Inner(width=2)))


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_positive_means_finite_and_above_zero(value):
    with pytest.raises(ConfigError, match=r"rate must be above 0"):
        config.check_positive(rate=value)
    config.check_positive(rate=None, other=1e-9)


def test_fraction_and_choice():
    config.check_fraction(low=0, high=1, none=None)
    with pytest.raises(ConfigError, match="dropout must be between 0 and 1"):
        config.check_fraction(dropout=1.5)
    with pytest.raises(ConfigError, match="frame must be one of km, degrees, got 'miles'"):
        config.check_choice("frame", "miles", ("km", "degrees"))


def test_named_paths_are_read_in_order_and_each_name_once():
    assert config.named_paths("models", ("b=x/y", "a=s3://z?k=v")) == {"b": "x/y", "a": "s3://z?k=v"}
    assert config.named_paths("models", "one=path") == {"one": "path"}
    for wrong, finding in (
        ("a", "name=path, got 'a'"),
        ("=p", "name=path"),
        (("a=x", "a=y"), "got 'a' twice"),
    ):
        with pytest.raises(ConfigError, match=f"models must .*{finding}"):
            config.named_paths("models", wrong)


def test_a_demo_says_what_size_it_is():
    assert [config.BaseDemoConfig(full=full).size for full in (False, True)] == ["demo", "full"]


def test_a_missing_package_names_its_extra():
    with pytest.raises(MissingDependencyError, match=r"pip install 'isopleth\[grib\]'"):
        require("no_such_package_here", install="isopleth[grib]", purpose="read GRIB")
    assert require("json", install="x", purpose="y").__name__ == "json"


def test_an_error_is_one_line():
    error = IsoplethError("a must be b,\n got c", where=Path("f.nc"), hint="try d")
    assert str(error) == "a must be b, got c (in f.nc); try d"
    assert isinstance(ConfigError("x"), ValueError)
