"""Released checkpoints of the authors' code to a pretrained folder of ours; nothing in them is unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from archesweather.config import ConvertConfig, FieldsConfig, ModelConfig, NetworkConfig
from isopleth.data.normaliser import Normaliser
from isopleth.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

Tensors = Mapping[str, "Tensor"]

# Tokens of a column in the released code, whatever the number of levels.
_COLUMN = 8
_STATISTICS = ("surface_mean", "surface_std", "level_mean", "level_std")


def convert_checkpoint(config: ConvertConfig) -> dict[str, Any]:
    """Write a released checkpoint as a pretrained folder that computes the same numbers.

    Returns
    -------
    dict
        The folder, the number of parameters, and what was read from the weights.

    Raises
    ------
    DataError
        If a file is not what it should be, or a weight is missing or unknown; names it.
    """
    from archesweather.model import ArchesWeather
    from archesweather.model.released import translate_weights

    weights = read_weights(config.checkpoint)
    network = infer_network(weights, config)
    model_config = infer_config(weights, network, config.fields)
    model = ArchesWeather(model_config, read_normaliser(config.statistics, config.fields))
    translated = translate_weights(weights, (1, *network.window))
    constants = read_constants(config.constants, tuple(model.backbone.constants.shape))
    model.backbone.load_state_dict({**translated, "constants": constants})
    model.save_pretrained(config.out)
    return {
        "model": str(config.out),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "depths": list(network.depths),
        "target": network.target,
        "grid": [len(model_config.lat), len(model_config.lon)],
    }


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a Lightning checkpoint, a state dict (``.pt``) or safetensors; never by unpickling objects.

    Raises
    ------
    DataError
        If it is none of these, or holds anything but tensors by name.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from isopleth.train.checkpoint import load_checkpoint

    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise DataError(f"weights must be a whole safetensors file, got {error}", where=path) from error
    content = load_checkpoint(path)
    weights = content.get("state_dict", content)
    odd = [str(name) for name, value in weights.items() if not isinstance(value, torch.Tensor)]
    if odd or not weights:
        raise DataError(
            f"a checkpoint must hold tensors by name, got {', '.join(odd[:4]) or 'nothing'}", where=path
        )
    return dict(weights)


def infer_network(weights: Tensors, config: ConvertConfig) -> NetworkConfig:
    """Read the network's shape from its weights."""
    from archesweather.model.released import released_depths

    depths = released_depths(weights)
    first = "backbone.layer{}.blocks.0.attn.earth_position_bias_table"
    tables = [_take(weights, first.format(stage)) for stage in (1, 2, 3, 4)]
    return NetworkConfig(
        dim=len(_take(weights, "embedder.surface_proj.weight")),
        depths=depths,
        heads=tuple(table.shape[2] for table in tables),  # type: ignore[arg-type] # four they are
        window=config.window,
        target=config.target or find_target(config.checkpoint),
        mlp="gated" if "backbone.layer1.blocks.0.mlp.fc1_g.weight" in weights else "plain",
        condition_dim=len(_take(weights, "month_embedder.mlp.2.weight")),
        drop_path=config.drop_path,
        compat="geoarches",
    )


def find_target(checkpoint: Path) -> Literal["state", "increment"]:
    """Read from the run's config.yaml, beside the checkpoint or a folder above, what the head gives.

    Raises
    ------
    DataError
        If there is no such file: the weights are alike in both cases.
    """
    import yaml

    for folder in (checkpoint.absolute().parent, checkpoint.absolute().parent.parent):
        path = folder / "config.yaml"
        if path.is_file():
            module = yaml.safe_load(path.read_text(encoding="utf-8")).get("module", {})
            adds = module.get("add_input_state", module.get("module", {}).get("add_input_state", False))
            return "increment" if adds else "state"
    raise DataError(
        "the run of a released checkpoint must be known by its config.yaml, got none there or above",
        where=checkpoint.parent,
        hint='say --target state, or --target increment for the "skip" models',
    )


def infer_config(weights: Tensors, network: NetworkConfig, fields: FieldsConfig) -> ModelConfig:
    """Check the variables against the weights, and read the grid from the bias tables.

    The tables have a row for each kind of window, from which the number of latitudes follows; the grid is
    equiangular with poles, as WeatherBench 2's.
    """
    _check_channels(weights, fields)
    kinds = _take(weights, "backbone.layer1.blocks.0.attn.earth_position_bias_table").shape[1]
    rows = kinds // _COLUMN * network.window[0] * network.patch[1]
    lat, lon = np.linspace(-90.0, 90.0, rows + 1), np.arange(2 * rows) * (180.0 / rows)
    return ModelConfig(
        fields=fields, network=network, lat=tuple(lat.tolist()), lon=tuple(lon.tolist()), lead_hours=24
    )


def read_normaliser(path: Path, fields: FieldsConfig) -> Normaliser:
    """Read statistics from a `normaliser.json`, or from the tensors (``.pt``) of the authors.

    The authors' file has ``surface_mean``, ``surface_std`` (variable, 1, 1, 1) and ``level_mean``,
    ``level_std`` (variable, level, 1, 1), variables in the order of `fields`, levels from the top down.
    """
    if path.suffix != ".pt":
        return Normaliser.load(path).select(fields.channels)
    content = read_weights(path)
    surface, upper, levels = len(fields.surface), len(fields.upper), len(fields.levels)
    shapes = {name: (surface,) if name.startswith("surface") else (upper, levels) for name in _STATISTICS}
    found = {name: tuple(content[name].squeeze().shape) if name in content else None for name in shapes}
    if found != shapes:
        raise DataError(f"statistics must have the shapes {shapes}, got {found}", where=path)
    mean, std = (
        np.concatenate(
            [content[f"{part}_{kind}"].double().numpy().reshape(-1) for part in ("surface", "level")]
        )
        for kind in ("mean", "std")
    )
    return Normaliser(fields.channels, mean, std)


def read_constants(path: Path, shape: tuple[int, ...]) -> Tensor:
    """Read the z-scored static maps of the authors, and turn them as ours: south first, Greenwich first.

    Theirs lack the south pole, which the network does not read either; the row beside it is put there.

    Raises
    ------
    DataError
        If the file is not one tensor of the shape (constant, [1,] lat - 1, lon).
    """
    import torch

    from archesweather.model.backbone import from_released

    maps = _read_tensor(path)
    expected = (shape[0], shape[1] - 1, shape[2])
    found = tuple(maps.squeeze(1).shape) if maps.ndim == len(shape) + 1 else tuple(maps.shape)
    if found != expected:
        raise DataError(f"constant maps must be of shape {expected}, got {found}", where=path)
    maps = maps.view(expected).float()
    return from_released(torch.cat([maps, maps[:, -1:]], dim=1))


def _read_tensor(path: Path) -> Tensor:
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 - no dict
    except Exception as error:  # a stranger's bytes raise anything
        finding = str(error).strip().partition("\n")[0][:200]
        raise DataError(f"constant maps must be a saved tensor, got {finding}", where=path) from error
    if not isinstance(content, torch.Tensor):
        raise DataError(f"constant maps must be a tensor, got {type(content).__name__}", where=path)
    return content


def _take(weights: Tensors, name: str) -> Tensor:
    if name not in weights:
        raise DataError(f"a released checkpoint must hold every weight, got no {name}")
    return weights[name]


def _check_channels(weights: Tensors, fields: FieldsConfig) -> None:
    """Compare the numbers of variables and constants with those that the embedding and the head have."""
    surface = len(_take(weights, "embedder.surface_deconv.weight")) // 4
    upper = len(_take(weights, "embedder.level_deconv.weight")) // 4
    constants = _take(weights, "embedder.surface_proj.weight").shape[1] - 2 * surface
    found = {"surface": surface, "upper": upper, "constants": constants}
    named = {name: len(getattr(fields, name)) for name in found}
    if found != named:
        raise DataError(f"fields must name as many variables as the checkpoint has, {found}, got {named}")
