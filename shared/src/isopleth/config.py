"""Configurations: frozen, keyword-only dataclasses that check themselves and can be replayed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from enum import Enum
from importlib import resources
from pathlib import Path, PurePath
from typing import Any, Literal

from isopleth.errors import ConfigError


def positional(help_default: Any = dataclasses.MISSING) -> Any:
    """Declare a dataclass field that the command line takes without its ``--name``.

    Parameters
    ----------
    help_default : any, optional
        The default; without one the argument is required.
    """
    return dataclasses.field(default=help_default, metadata={"positional": True})


def positional_names(config_class: type) -> list[str]:
    """List the fields of a config class that the command line takes by position, in order."""
    return [field.name for field in dataclasses.fields(config_class) if field.metadata.get("positional")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaseDemoConfig:
    """The main job on a sample that ships; a tool adds its own summary and run directory.

    Parameters
    ----------
    out : Path
        The run directory.
    full : bool
        Decide the claims over several seeds and more data, instead of taking a first look.
    seed : int
        First seed.
    """

    out: Path = Path("runs/demo")
    full: bool = False
    seed: int = 0

    @property
    def size(self) -> Literal["demo", "full"]:
        """How much evidence the demo is, as its report says."""
        return "full" if self.full else "demo"


def to_dict(config: Any) -> Any:
    """Turn a config (or any part of one) into plain numbers, strings, lists and dicts.

    The result can be written as JSON or YAML, and read back with ``--config``.
    """
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {field.name: to_dict(getattr(config, field.name)) for field in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {str(key): to_dict(value) for key, value in config.items()}
    if isinstance(config, list | tuple | set | frozenset):
        return [to_dict(value) for value in config]
    if isinstance(config, PurePath):
        return str(config)
    if isinstance(config, Enum):
        return config.value
    return config


def to_yaml(config: Any) -> str:
    """Write a config as YAML that ``--config`` reads back to an equal object."""
    import yaml

    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)


def config_hash(config: Any) -> str:
    """Give twelve hexadecimal digits that are equal exactly when two configs are equal."""
    text = json.dumps(to_dict(config), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def check_positive(**values: float | None) -> None:
    """Raise `ConfigError` unless every value given by name is finite and above zero (or None)."""
    for name, value in values.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} must be above 0, got {value!r}")


def check_fraction(**values: float | None) -> None:
    """Raise `ConfigError` unless every value given by name lies in [0, 1] (or is None)."""
    for name, value in values.items():
        if value is not None and not 0 <= value <= 1:
            raise ConfigError(f"{name} must be between 0 and 1, got {value!r}")


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raise `ConfigError` unless `value` is one of `choices`."""
    if value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(map(str, choices))}, got {value!r}")


def as_tuple(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return one string, or several, as a tuple."""
    return (value,) if isinstance(value, str) else tuple(value)


def named_paths(option: str, values: str | tuple[str, ...]) -> dict[str, str]:
    """Read ``name=path`` pairs: the paths by their names, in the order given.

    Raises
    ------
    ConfigError
        If one is not such a pair, or a name is given twice; names `option`.
    """
    paths: dict[str, str] = {}
    for value in as_tuple(values):
        name, _, path = value.partition("=")
        if not (name and path):
            raise ConfigError(f"{option} must be name=path, got {value!r}")
        if name in paths:
            raise ConfigError(f"{option} must have each name once, got {name!r} twice")
        paths[name] = path
    return paths


def shipped_configs(package: str) -> dict[str, Path]:
    """Find the YAML files in a package's ``configs`` folder, by name without ending."""
    folder = resources.files(package) / "configs"
    if not folder.is_dir():
        return {}
    paths = [Path(str(entry)) for entry in folder.iterdir()]
    return {path.stem: path for path in sorted(paths) if path.suffix == ".yaml"}


def find_config(package: str, name: str) -> Path:
    """Find a config by its path, or by its name among those that the package ships.

    Raises
    ------
    ConfigError
        If it is neither; names what there is.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_configs(package)
    if name in shipped:
        return shipped[name]
    known = ", ".join(shipped) or "none"
    raise ConfigError(
        f"the config {name!r} must be a file or a shipped name",
        where=path.absolute().parent,
        hint=f"shipped names: {known}",
    )
