"""Models to share: config.json, model.safetensors, normaliser.json and a card, in a folder or on a hub."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import typing
from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import ModelCard, ModelHubMixin, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_model
from torch import nn

from isopleth.config import to_dict, to_yaml
from isopleth.errors import ConfigError, DataError
from isopleth.io.atomic import atomic_path
from isopleth.io.write import write_json

CONFIG, WEIGHTS, NORMALISER, CARD = "config.json", "model.safetensors", "normaliser.json", "README.md"
_CLASS = "_class"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class Pretrained(ModelHubMixin, library_name="isopleth"):
    """Give a network ``save_pretrained``, ``from_pretrained`` and ``push_to_hub``.

    The network's constructor takes ``config``, a dataclass, and may take ``normaliser``. Both are files
    beside the weights. The keyword arguments of the class (``license``, ``paper_url``, ``tags``, ...) are
    those of `huggingface_hub.ModelHubMixin`.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import tempfile
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Width:
    ...     width: int = 2
    >>> class Line(Pretrained, nn.Linear):
    ...     def __init__(self, config: Width) -> None:
    ...         super().__init__(config.width, 1)
    ...         self.config = config
    >>> folder = tempfile.mkdtemp()
    >>> _ = Line(Width(width=3)).save_pretrained(folder)
    >>> Line.from_pretrained(folder).config
    Width(width=3)
    """

    # What is expected of the network. Without values: a class attribute would hide a submodule of its name.
    config: Any
    normaliser: Any

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write weights, config and normaliser, each whole or not at all."""
        config = getattr(self, "config", None)
        if not dataclasses.is_dataclass(config) or isinstance(config, type):
            raise ConfigError(f"a model to share must keep its config, a dataclass, got {config!r}")
        with atomic_path(save_directory / WEIGHTS) as partial:
            save_model(typing.cast("nn.Module", self), str(partial))
        write_json(save_directory / CONFIG, {_CLASS: type(self).__qualname__, **to_dict(config)})
        normaliser = _as_normaliser(getattr(self, "normaliser", None))
        if normaliser is not None:
            normaliser.save(save_directory / NORMALISER)

    def generate_model_card(self, *_: Any, **kwargs: Any) -> ModelCard:
        """Write the card: what it is, how to load it, its config. Text for it: `summary`, `training`."""
        return ModelCard(_card(self, **kwargs))

    @classmethod
    def from_pretrained(  # type: ignore[override] # the mixin would ignore unknown keys and fall back to a pickle
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        device: str | torch.device = "cpu",
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
    ) -> Self:
        """Build a model from a folder, or from a hub id ("owner/name"), in evaluation mode.

        Parameters
        ----------
        pretrained_model_name_or_path : str or Path
            A folder that `save_pretrained` wrote. The network is asked only if there is no such folder and
            the string has the form of a hub id.
        device : str or torch.device
            Where the weights go.
        revision, token, cache_dir, local_files_only, force_download
            Of the hub; see `huggingface_hub.snapshot_download`.

        Raises
        ------
        DataError
            If a file is missing or damaged, the weights are a pickle, or config and weights do not fit the
            class; names the keys or tensors.
        """
        folder = _find_folder(
            pretrained_model_name_or_path,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            force_download=force_download,
        )
        weights = _find_weights(folder)
        arguments: dict[str, Any] = {"config": _read_config(cls, folder / CONFIG)}
        if (folder / NORMALISER).is_file() and "normaliser" in inspect.signature(cls.__init__).parameters:
            from isopleth.data.normaliser import Normaliser

            arguments["normaliser"] = Normaliser.load(folder / NORMALISER)
        model = cls(**arguments)
        load_weights(typing.cast("nn.Module", model), weights)
        typing.cast("nn.Module", model).to(device).eval()
        return model


def load_weights(module: nn.Module, path: Path) -> None:
    """Read a safetensors file into a module that must have exactly its tensors.

    Raises
    ------
    DataError
        If the file is damaged, or a tensor is missing, left over or of another shape; names them.
    """
    try:
        stored = {name: tuple(tensor.shape) for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise DataError(f"weights must be a whole safetensors file, got {error}", where=path) from error
    own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    wrong = [
        f"{name} {shape} for {own[name]}" for name, shape in stored.items() if own.get(name, shape) != shape
    ]
    if not wrong:
        # Of tensors that share memory the file has one; the loader knows which.
        missing, unexpected = load_model(module, path, strict=False)
        wrong = [f"no {name}" for name in sorted(missing)] + [
            f"unknown {name}" for name in sorted(unexpected)
        ]
    if wrong:
        raise DataError(
            f"weights must fit the architecture {type(module).__name__}, got {_list(wrong)}",
            where=path,
            hint="load them with the class and the config that they were saved with",
        )


def _find_folder(source: str | Path, **hub: Any) -> Path:
    folder = Path(source)
    if folder.is_dir():
        return folder
    if isinstance(source, Path) or not _HUB_ID.fullmatch(source):
        raise DataError(
            "a pretrained model must be a folder or a hub id (owner/name), got neither", where=source
        )
    try:
        return Path(snapshot_download(source, allow_patterns=[CONFIG, WEIGHTS, NORMALISER, CARD], **hub))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise DataError(
            f"a pretrained model must be a folder or on the hub, got {type(error).__name__}",
            where=source,
            hint="check the name, and the network if it is a hub id",
        ) from error


def _find_weights(folder: Path) -> Path:
    if (folder / WEIGHTS).is_file():
        return folder / WEIGHTS
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    raise DataError(
        f"the weights must be in {WEIGHTS}, got {_list(pickles) if pickles else 'no such file'}",
        where=folder,
        hint="a pickle can run code and is not read: ask its author for safetensors" if pickles else None,
    )


def _read_config(cls: type, path: Path) -> Any:
    """Turn config.json into the dataclass that the constructor's ``config`` is annotated with."""
    constructor: Any = cls.__init__  # type: ignore[misc] # the class's own, not a subclass's
    expected = typing.get_type_hints(constructor).get("config")
    if not (isinstance(expected, type) and dataclasses.is_dataclass(expected)):
        raise ConfigError(
            f"{cls.__name__}.__init__ must take config, annotated with a dataclass, got {expected}"
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"a model's config must be a JSON file, got {error}", where=path) from error
    if not isinstance(record, dict):
        raise DataError(f"a model's config must be a JSON object, got {type(record).__name__}", where=path)
    saved_by = record.pop(_CLASS, cls.__qualname__)
    if saved_by != cls.__qualname__:
        raise DataError(
            f"the model must be loaded by its class {saved_by}, got {cls.__qualname__}", where=path
        )
    return _build_config(expected, record, path)


def _build_config(expected: type, record: dict[str, Any], path: Path) -> Any:
    """Check and convert every value to its field's type (tuples, enums, paths, nested dataclasses)."""
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", type=expected)
    try:
        return parser.instantiate(parser.parse_object({"config": record})).config
    except (ArgumentError, ValueError, TypeError, KeyError) as error:
        finding = " ".join(str(error).split())
        raise DataError(
            f"a model's config must be a {expected.__name__}, got {finding[:300]}", where=path
        ) from error


def _as_normaliser(normaliser: Any) -> Any:
    """Give what has `save`: the normaliser itself, or the one that a module of buffers holds."""
    inner = getattr(normaliser, "normaliser", normaliser)
    return inner if hasattr(inner, "save") else None


def _card(model: Any, *, summary: str = "", training: str = "") -> str:
    data = model._hub_mixin_info.model_card_data
    count = sum(parameter.numel() for parameter in model.parameters())
    about = summary or (inspect.getdoc(type(model)) or "").partition("\n")[0]
    name, module = type(model).__qualname__, type(model).__module__
    sections = [
        f"---\n{data.to_yaml()}\n---",
        f"# {name}",
        about,
        f"{count:,} parameters.",
        "## Use",
        f'```python\nfrom {module} import {name}\n\nmodel = {name}.from_pretrained("FOLDER_OR_HUB_ID")\n```',
        f"## Configuration\n\n```yaml\n{to_yaml(model.config).rstrip()}\n```",
        f"## Training\n\n{training}" if training else "",
        "The weights are safetensors: loading them runs no code from the file.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _list(names: list[str], shown: int = 6) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
