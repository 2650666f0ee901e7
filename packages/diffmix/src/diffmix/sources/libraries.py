"""Data sets of torchvision and of Hugging Face."""

from __future__ import annotations

import contextlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isopleth.errors import ConfigError, DataError, IsoplethError, require

if TYPE_CHECKING:
    from PIL.Image import Image


class TorchvisionSource:
    """A labelled data set of torchvision.

    Parameters
    ----------
    spec : str
        "NAME:ROOT" or "NAME:ROOT:SPLIT"; SPLIT is "train" by default.
    download : bool

    Raises
    ------
    ConfigError
        If torchvision has no such data set.
    DataError
        If it is not at ROOT.
    """

    def __init__(self, spec: str, *, download: bool = False) -> None:
        torchvision: Any = require("torchvision", install="diffmix", purpose="read data sets of torchvision")
        name, root, split = _split_spec(spec, "torchvision:NAME:ROOT[:SPLIT]")
        factory = getattr(torchvision.datasets, name, None)
        if not inspect.isclass(factory) or not issubclass(factory, torchvision.datasets.VisionDataset):
            raise ConfigError(f"torchvision must have the data set, got {name!r}")
        known = inspect.signature(factory).parameters
        options: dict[str, Any] = {"root": root}
        if "split" in known:
            options["split"] = split
        elif "train" in known:
            options["train"] = split == "train"
        if "download" in known:
            options["download"] = download
        try:
            self._data: Any = factory(**options)
        except (RuntimeError, OSError, ValueError, TypeError) as error:
            raise DataError(f"the data set {name} must be readable, got {error}", where=root) from error
        self.name = name
        self.labels = np.array(_list_labels(self._data), np.int64)
        self.classes = _name_classes(getattr(self._data, "classes", None), self.labels)
        self.ids = _number_ids(self.labels)

    def read(self, number: int) -> Image:
        """Read one image."""
        with _reading(f"{self.name}[{number}]"):
            return _as_image(self._data[number][0])


class DatasetsSource:
    """A data set of Hugging Face's ``datasets``, with a column of images and perhaps one of classes.

    Parameters
    ----------
    spec : str
        "NAME_OR_FOLDER" or "NAME_OR_FOLDER:SPLIT". A folder that ``save_to_disk`` wrote is opened as such.
    download : bool
    """

    def __init__(self, spec: str, *, download: bool = False) -> None:
        datasets: Any = require("datasets", install="diffmix[hub]", purpose="read data sets of Hugging Face")
        name, _, split = spec.partition(":")
        split = split or "train"
        if Path(name).is_dir() and any(
            (Path(name) / file).is_file() for file in ("state.json", "dataset_dict.json")
        ):
            data = datasets.load_from_disk(name)
            data = data[split] if isinstance(data, datasets.DatasetDict) else data
        elif Path(name).exists() or download:
            data = datasets.load_dataset(name, split=split)
        else:
            raise DataError(
                "a data set must be a folder here", where=name, hint="--download true asks the hub for it"
            )
        self.name = Path(name).name
        self._column = _find_column(data, datasets.Image, name)
        label = next(
            (key for key, kind in data.features.items() if isinstance(kind, datasets.ClassLabel)), None
        )
        self.labels = np.array(data[label] if label else [-1] * len(data), np.int64)
        self.classes = _name_classes(data.features[label].names if label else None, self.labels)
        self.ids = _number_ids(self.labels)
        # Decoding is ours: a damaged image shall be named, not end the run.
        self._data = data.cast_column(self._column, datasets.Image(decode=False))

    def read(self, number: int) -> Image:
        """Read one image."""
        import io

        from diffmix.sources.folder import read_image

        record = self._data[number][self._column]
        place = f"{self.name}[{number}]"
        if record is None:
            raise DataError("an image must be there, got none", where=place)
        return read_image(
            io.BytesIO(record["bytes"]) if record["bytes"] else Path(record["path"]), where=place
        )


def _split_spec(spec: str, form: str) -> tuple[str, str, str]:
    name, _, rest = spec.partition(":")
    root, _, split = rest.partition(":")
    if not name or not root:
        raise ConfigError(f"the source must be {form}, got {spec!r}")
    return name, root, split or "train"


def _list_labels(data: Any) -> list[int]:
    for name in ("targets", "labels", "_labels"):
        if (found := getattr(data, name, None)) is not None and len(found) == len(data):
            return [int(label) for label in found]
    return [-1] * len(data)


def _name_classes(names: Any, labels: np.ndarray) -> tuple[str, ...]:
    if names is not None:
        return tuple(map(str, names))
    return tuple(map(str, range(int(labels.max()) + 1))) if labels.size and labels.min() >= 0 else ()


def _number_ids(labels: np.ndarray) -> tuple[str, ...]:
    """Give each image a path: its class's number, if it has one, and its own place in the data set."""
    return tuple(
        f"{label}/{place:08d}" if label >= 0 else f"{place:08d}" for place, label in enumerate(labels)
    )


def _find_column(data: Any, kind: type, where: str) -> str:
    for name, feature in data.features.items():
        if isinstance(feature, kind):
            return str(name)
    raise DataError(f"a data set must have a column of images, got {', '.join(data.features)}", where=where)


@contextlib.contextmanager
def _reading(place: str) -> Any:
    try:
        yield
    except IsoplethError:
        raise
    except Exception as error:  # whatever a data set's own code meets in a damaged file
        raise DataError(
            f"an image must be readable, got {type(error).__name__}: {error}", where=place
        ) from error


def _as_image(image: Any) -> Image:
    grey = image.mode in ("1", "L", "I", "I;16", "F", "LA")
    return image.convert("L" if grey else "RGB")
