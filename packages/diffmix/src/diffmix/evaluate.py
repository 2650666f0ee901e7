"""Compare trained encoders: accuracies with intervals, clean, corrupted, shifted and transferred."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffmix import __version__
from diffmix.config import EvaluateConfig
from diffmix.corruption import SEVERITIES, corrupt
from diffmix.sources import Source, open_source
from isopleth.config import config_hash, named_paths
from isopleth.errors import ConfigError, DataError
from isopleth.report import Claim, Cost, DataCard, Evaluation, Provenance, Score, fingerprint, publish
from isopleth.verify import block_bootstrap, student_interval

if TYPE_CHECKING:
    from diffmix.model.encoder import Encoder
    from diffmix.predict import Known

UNTRAINED = "untrained"
_DRAWS = 2000


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table: runs that differ by their seeds alone.

    Attributes
    ----------
    name : str
    folders : list of Path
        Encoders, one a seed; empty for the untrained network.
    marks : dict of (str, str) to list of array
        By probe and test set: for each seed, for each image whether the answer was right.
    """

    name: str
    folders: list[Path]
    marks: dict[tuple[str, str], list[np.ndarray]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Task:
    """Labelled training images and the test sets of their classes.

    Attributes
    ----------
    train : Source
    tests : dict of str to (Source, change)
    """

    train: Source
    tests: dict[str, tuple[Source, Callable[[np.ndarray], np.ndarray] | None]]


def evaluate_runs(config: EvaluateConfig) -> dict[str, object]:
    """Score every run of a folder and compare them: the verb ``evaluate``."""
    rows = find_rows(config.runs)
    tasks = {"": _main_task(config), **dict(_transfer_tasks(config))}
    main, size = tasks[""], 0
    counts = {name: len(source.ids) for task in tasks.values() for name, (source, _) in task.tests.items()}
    for row in rows:
        for encoder in _load(row, rows, config):
            size = sum(weight.numel() for weight in encoder.parameters())
            for name, task in tasks.items():
                for key, marks in _score_task(encoder, task, name, config).items():
                    row.marks.setdefault(key, []).append(marks)
    evaluation = Evaluation(
        tool="diffmix",
        version=__version__,
        task=f"Score frozen encoders by probes on {main.train.name}; the model is {rows[0].name}.",
        data=DataCard(
            name=main.train.name, kind="real", source=config.train, train=f"{len(main.train.ids)} images",
            test=", ".join(f"{name}: {count}" for name, count in counts.items()),
            fingerprint=fingerprint(*(name for task in tasks.values() for name in task.train.ids)),
        ),
        scores=score_rows(rows),
        claims=judge_rows(rows, config.baseline),
        cost=Cost.of(parameters=size),
        provenance=Provenance.collect(
            f"diffmix evaluate {config.runs}", config_hash(config), config.seed,
            packages=["diffmix", "lightly", "timm"],
        ),
    )  # fmt: skip
    summary = {f"{probe}, {name}": _percent(rows[0].marks[probe, name]) for probe, name in rows[0].marks}
    return {**publish(config.out, evaluation), **summary}


def find_rows(folder: Path) -> list[Row]:
    """Find runs of ``train``, a row for those that differ by seed alone; diffmix first, untrained last.

    Raises
    ------
    DataError
        If there is none.
    """
    from diffmix.export import read_run
    from diffmix.train import FOLDER

    found: dict[str, Row] = {}
    for path in sorted(Path(folder).rglob(f"{FOLDER}/config.json")):
        run = path.parent.parent
        config = read_run(run)
        views = config.views
        name = f"{views.mode}, {config.method.kind}, augmentation {views.strength:g}"
        if views.augment_synthetic != "full" and views.mode != "real":
            name += f", synthetic {views.augment_synthetic}"
        found.setdefault(name, Row(name=name, folders=[])).folders.append(path.parent)
    if not found:
        raise DataError(
            "a folder of runs must hold a trained encoder, got none", where=folder, hint="diffmix train"
        )
    rows = sorted(found.values(), key=lambda row: not row.name.startswith("diffmix"))
    return [*rows, Row(name=UNTRAINED, folders=[])]


def score_rows(rows: Sequence[Row]) -> tuple[Score, ...]:
    """Make the table: the first row with its interval, the others beside it."""
    return tuple(_score(rows, probe, name) for probe, name in rows[0].marks)


def judge_rows(rows: Sequence[Row], baseline: str) -> tuple[Claim, ...]:
    """Compare each row with the baseline of its method and augmentation, paired by image and by seed."""
    claims = []
    for row in rows:
        mode, _, rest = row.name.partition(", ")
        other = next((each for each in rows if each.name == f"{baseline}, {rest}" and mode != baseline), None)
        if other is None:
            continue
        claims += [
            _compare(row, other, probe, name) for probe, name in row.marks if name in ("clean", "shifted")
        ]
    return tuple(claims)


def _main_task(config: EvaluateConfig) -> Task:
    train, test = open_source(config.train), open_source(config.test)
    tests: dict[str, tuple[Source, Callable[[np.ndarray], np.ndarray] | None]] = {"clean": (test, None)}
    for name in config.corruptions:
        if name not in SEVERITIES:
            raise ConfigError(f"corruptions must be among {', '.join(SEVERITIES)}, got {name!r}")
        for severity in config.severities:
            tests[f"{name} {severity}"] = (
                test,
                partial(corrupt, name=name, severity=severity, seed=config.seed),
            )
    for name, path in named_paths("shifted", config.shifted).items():
        tests[name] = (open_source(path), None)
    return Task(train=train, tests=tests)


def _transfer_tasks(config: EvaluateConfig) -> Iterator[tuple[str, Task]]:
    for name, path in named_paths("transfer", config.transfer).items():
        parts = {part: open_source(Path(path) / part) for part in ("train", "test")}
        yield name, Task(train=parts["train"], tests={f"{name}": (parts["test"], None)})


def _load(row: Row, rows: Sequence[Row], config: EvaluateConfig) -> Iterator[Encoder]:
    """Load a row's encoders; the untrained one is the first row's network, drawn anew."""
    import torch

    from diffmix.export import load_encoder
    from diffmix.model.device import find_device
    from diffmix.model.encoder import build_encoder

    device = find_device(config.device)
    if row.name == UNTRAINED:
        torch.manual_seed(config.seed)
        yield build_encoder(load_encoder(rows[0].folders[0]).config).to(device).eval()
    for folder in row.folders:
        yield load_encoder(folder).to(device)


def _score_task(
    encoder: Encoder, task: Task, name: str, config: EvaluateConfig
) -> dict[tuple[str, str], np.ndarray]:
    """Give marks of every probe on every test set, and fine-tuning's if asked."""
    from diffmix.probes import score_probes

    classes = task.train.classes
    if len(classes) < 2:
        raise DataError(
            f"labelled images must have two classes or more, got {len(classes)}", where=task.train.name
        )
    train = _know(encoder, task.train, classes, None, config)
    tests = {
        key: _know(encoder, source, classes, change, config) for key, (source, change) in task.tests.items()
    }
    right = score_probes(train, tests, config.probes, classes=len(classes), seed=config.seed)
    if "fine-tune" in config.probes.probes:
        right["fine-tune"] = _fine_tune(encoder, task, tests, config)
    found = {(probe, key): marks for probe, by in right.items() for key, marks in by.items()}
    corrupted = [key for key, (_, change) in task.tests.items() if change is not None]
    for probe in right:
        if not name and corrupted:
            found[probe, "shifted"] = np.mean([found[probe, key] for key in corrupted], axis=0)
    return found


def _know(
    encoder: Encoder,
    source: Source,
    classes: Sequence[str],
    change: Callable[[np.ndarray], np.ndarray] | None,
    config: EvaluateConfig,
) -> Known:
    """Compute features, and give labels the numbers of the training classes."""
    import torch

    from diffmix.predict import Known, compute_features, read_batches

    settings = encoder.config
    numbers = {name: number for number, name in enumerate(classes)}
    if strange := [name for name in source.classes if name not in numbers]:
        raise DataError(
            f"classes must be among those of the training images, got {strange[0]!r}", where=source.name
        )
    if not source.classes:
        raise DataError("test images must have classes, got none", where=source.name)
    places = np.array([numbers[name] for name in source.classes])
    batches = read_batches(
        source, settings.image_size, settings.channels, batch_size=config.batch_size, change=change
    )
    part = tuple(places.tolist()) if len(places) < len(classes) else None
    return Known(compute_features(encoder, batches), torch.from_numpy(places[source.labels]), part)


def _fine_tune(
    encoder: Encoder, task: Task, tests: dict[str, Known], config: EvaluateConfig
) -> dict[str, np.ndarray]:
    """Train all weights further, and mark each test set."""
    import torch

    from diffmix.predict import fit_size, read_batches
    from diffmix.probes import fine_tune, mark

    settings = encoder.config
    read = partial(
        read_batches, size=settings.image_size, channels=settings.channels, batch_size=config.batch_size
    )
    pixels = np.concatenate(list(read(task.train)))
    network = fine_tune(
        encoder, pixels, task.train.labels, config.probes, classes=len(task.train.classes), seed=config.seed
    )
    device = next(encoder.parameters()).device
    found = {}
    with torch.no_grad():
        for name, (source, change) in task.tests.items():
            parts = [
                network(fit_size(batch, settings.image_size, device)).cpu()
                for batch in read(source, change=change)
            ]
            found[name] = mark(torch.cat(parts), tests[name])
    return found


def _score(rows: Sequence[Row], probe: str, name: str) -> Score:
    """Give one cell; its interval is over seeds where there are several, else over test images."""
    own = rows[0].marks[probe, name]
    means = {row.name: _percent(row.marks[probe, name]) for row in rows[1:]}
    if len(own) > 1:
        ends = student_interval([100 * float(marks.mean()) for marks in own]).ends
    else:
        ends = block_bootstrap(100 * own[0], block=1, draws=_DRAWS, seed=0).ends
    return Score(
        metric="accuracy", variable=probe, units="%", better="higher", model=_percent(own), interval=ends,
        baselines=means, stratum={"images": name}, n=len(own) if len(own) > 1 else len(own[0]),
    )  # fmt: skip


def _compare(row: Row, other: Row, probe: str, name: str) -> Claim:
    mine, theirs = row.marks[probe, name], other.marks[probe, name]
    sentence = f"{row.name} is better than {other.name} ({probe}, {name})"
    if min(len(mine), len(theirs)) > 1:
        count = min(len(mine), len(theirs))
        differences = [
            100 * float(a.mean() - b.mean()) for a, b in zip(mine[:count], theirs[:count], strict=True)
        ]
        found, evidence = student_interval(differences), f"accuracy, paired by seed, {count} seeds"
    else:
        found = block_bootstrap(100 * mine[0], against=100 * theirs[0], block=1, draws=_DRAWS, seed=0)
        evidence = (
            f"accuracy, paired bootstrap over {len(mine[0])} images; one training each, its luck not counted"
        )
    return Claim.judge(sentence, found, better="higher", evidence=evidence, units="%")


def _percent(marks: Sequence[np.ndarray]) -> float:
    return 100 * float(np.mean([each.mean() for each in marks]))
