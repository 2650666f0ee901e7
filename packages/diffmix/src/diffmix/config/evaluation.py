"""What frozen and fine-tuned encoders are asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from isopleth.config import check_choice, check_positive, named_paths, positional
from isopleth.errors import ConfigError

Probe = Literal["linear", "few-shot", "k-NN", "fine-tune"]
PROBES: tuple[Probe, ...] = ("linear", "few-shot", "k-NN", "fine-tune")
SOLVERS = ("auto", "exact", "sgd")


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """How an encoder is scored.

    Parameters
    ----------
    probes : tuple of {"linear", "few-shot", "k-NN", "fine-tune"}
        Logistic regression on all labels, its penalty chosen on a part of the training images; on a few of
        each class; a weighted vote; or all weights trained further.
    shots : int
        Labelled images of each class of "few-shot".
    draws : int
        Choices of them, over which accuracy is averaged.
    penalties : tuple of float
        On squared weights, of which validation chooses.
    few_shot_penalty : float
        On squared weights; there are no images to choose it on.
    neighbours : int
    temperature : float
        Of the vote.
    validation : float
        Share of the training images that choose the penalty.
    solver : {"auto", "exact", "sgd"}
        Of "linear": L-BFGS on all features at once in float64, stochastic gradients on a batch of them at a
        time, or the one or the other by `exact_limit`.
    exact_limit : int
        Images times features up to which "auto" is exact: 5e8 are 4 GB in float64, which L-BFGS needs twice.
    sgd_epochs, sgd_batch : int
        Of "sgd"; the epochs are for each penalty.
    fine_tune_epochs, fine_tune_batch : int
    fine_tune_rate : float
        Of AdamW; the head's is ten times this.
    fine_tune_flip : bool
        Mirror half of the images.
    """

    probes: tuple[Probe, ...] = ("linear", "few-shot", "k-NN")
    shots: int = 5
    draws: int = 5
    penalties: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1)
    few_shot_penalty: float = 0.01
    neighbours: int = 20
    temperature: float = 0.07
    validation: float = 0.1
    solver: Literal["auto", "exact", "sgd"] = "auto"
    exact_limit: int = 500_000_000
    sgd_epochs: int = 20
    sgd_batch: int = 1024
    fine_tune_epochs: int = 20
    fine_tune_batch: int = 128
    fine_tune_rate: float = 1e-4
    fine_tune_flip: bool = True

    def __post_init__(self) -> None:
        if not self.probes:
            raise ConfigError("probes must name at least one, got none")
        for probe in self.probes:
            check_choice("probes", probe, PROBES)
        if not self.penalties:
            raise ConfigError("penalties must be at least one, got none")
        check_choice("solver", self.solver, SOLVERS)
        check_positive(**{f"penalties[{place}]": value for place, value in enumerate(self.penalties)})
        check_positive(
            shots=self.shots, draws=self.draws, few_shot_penalty=self.few_shot_penalty,
            neighbours=self.neighbours,
            temperature=self.temperature, fine_tune_epochs=self.fine_tune_epochs,
            fine_tune_batch=self.fine_tune_batch, fine_tune_rate=self.fine_tune_rate,
        )  # fmt: skip
        if not 0 < self.validation < 1:
            raise ConfigError(f"validation must be between 0 and 1, got {self.validation}")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """From trained runs and labelled images to accuracies, clean, shifted and transferred.

    Parameters
    ----------
    runs : Path
        A run directory of ``train``, or a folder of several. Runs that differ by seed alone are one row.
    train, test : str
        Labelled images, as ``generate`` takes them; the test images' classes are among the training images'.
    shifted : tuple of str
        "NAME=SOURCE" of shifted test images (ImageNet-A, -R, -Sketch, -V2, ...), which may have a part of the
        classes: the answer is then one of those.
    transfer : tuple of str
        "NAME=FOLDER" of other tasks, with folders ``train`` and ``test`` in each.
    corruptions : tuple of str
        Names of generated corruptions of the test images; see ``diffmix.corruption``.
    severities : tuple of int
        From 1 to 5.
    probes : ProbeConfig
    baseline : str
        Mode that the others are compared with.
    out : Path
    seed : int
        Of choices of labelled images and of corruptions.
    batch_size : int
    device : str
    """

    runs: Path = positional()
    train: str = positional()
    test: str = positional()
    shifted: tuple[str, ...] = ()
    transfer: tuple[str, ...] = ()
    corruptions: tuple[str, ...] = ()
    severities: tuple[int, ...] = (1, 3, 5)
    probes: ProbeConfig = ProbeConfig()
    baseline: str = "real"
    out: Path = Path("runs/diffmix/evaluate")
    seed: int = 0
    batch_size: int = 256
    device: str = "auto"

    def __post_init__(self) -> None:
        check_positive(batch_size=self.batch_size)
        for name in ("shifted", "transfer"):
            named_paths(name, getattr(self, name))
        if any(severity not in range(1, 6) for severity in self.severities):
            raise ConfigError(f"severities must be from 1 to 5, got {self.severities}")
