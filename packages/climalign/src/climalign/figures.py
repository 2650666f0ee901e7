"""Figures of an evaluation: samples beside the truth, spectra, ranks of the truth among the samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from climalign.scores import MODEL, Trial, mean_spectrum
from isopleth.report import figure, save_figure
from isopleth.report.style import PALETTE
from isopleth.verify import rank_histogram

_TITLES = {"temperature": "temperature anomaly (K)", "precipitation": "rain (mm/day)"}


def draw_trial(out: Path, trial: Trial) -> None:
    """Draw all figures of one variable."""
    draw_fields(out, trial)
    draw_spectra(out, trial)
    draw_ranks(out, trial)


def draw_fields(out: Path, trial: Trial) -> None:
    """Draw a telling day: the truth, two samples, the prediction, and two baselines."""
    day = _choose_day(trial)
    model = trial.contenders[MODEL]
    assert model.members is not None
    panels = {"truth": trial.truth, f"{MODEL}: one sample": model.members.isel(member=0)}
    if model.members.sizes["member"] > 1:
        panels["another sample"] = model.members.isel(member=1)
    panels[f"{MODEL}: prediction"] = model.mean
    others = [name for name in trial.contenders if name != MODEL]
    panels |= {
        name: trial.contenders[name].mean for name in ("bilinear", "BMD (supervised)") if name in others
    }
    normal = trial.normal[day] if trial.kind == "temperature" else 0.0
    shown = {name: field.values[day] - normal for name, field in panels.items()}
    top = float(np.nanquantile(np.abs(shown["truth"]), 0.99)) or 1.0
    low = -top if trial.kind == "temperature" else 0.0
    colours = "RdBu_r" if trial.kind == "temperature" else "YlGnBu"
    with figure(2, 3, height=5.2, sharex=True, sharey=True) as (fig, axes):
        drawn: Any = None
        flat = np.asarray(axes).ravel()
        for axis, (name, values) in zip(flat, shown.items(), strict=False):
            drawn = axis.pcolormesh(
                trial.truth["lon"],
                trial.truth["lat"],
                values,
                vmin=low,
                vmax=top,
                cmap=colours,
                rasterized=True,
            )
            axis.set_title(name, fontsize=9)
            axis.grid(visible=False)
        for axis in flat[len(shown) :]:
            axis.set_visible(b=False)
        title, stamp = _TITLES[trial.kind], str(trial.truth["time"].values[day])[:10]
        fig.colorbar(drawn, ax=list(flat), label=title, shrink=0.8)
        save_figure(
            fig,
            out,
            f"fields_{trial.kind}",
            f"{title[:1].upper()}{title[1:]} on {stamp}, chosen for its contrasts in the truth.",
        )


def draw_spectra(out: Path, trial: Trial) -> None:
    """Draw mean power over wave number, of one sample of each contender and of the truth."""
    with figure(height=3.6) as (fig, ax):
        truth = mean_spectrum(trial, trial.truth)
        ax.loglog(truth["wavenumber"][1:], truth[1:], color="0.1", linewidth=2.2, label="truth")
        for number, (name, contender) in enumerate(trial.contenders.items()):
            spectrum = mean_spectrum(trial, contender.one)
            colour = PALETTE[number % len(PALETTE)]
            ax.loglog(spectrum["wavenumber"][1:], spectrum[1:], color=colour, label=name)
            if name.startswith("BMD"):
                mean = mean_spectrum(trial, contender.mean)
                ax.loglog(
                    mean["wavenumber"][1:], mean[1:], color=colour, linestyle="--", label=f"{name}, mean"
                )
        ax.set_xlabel("wave number (cycles per fine cell)")
        ax.set_ylabel("power of anomalies")
        ax.legend(fontsize=7)
        save_figure(
            fig,
            out,
            f"spectra_{trial.kind}",
            f"Mean power spectra of anomalies of {trial.kind}; of what draws samples one sample. Nearer to "
            "the black line is better.",
        )


def draw_ranks(out: Path, trial: Trial) -> None:
    """Draw how often the truth has each rank among the samples."""
    model = trial.contenders[MODEL]
    if model.members is None or model.members.sizes["member"] < 2:
        return
    with figure(height=2.8) as (fig, ax):
        for number, (name, contender) in enumerate(trial.contenders.items()):
            if contender.members is None:
                continue
            ranks = xr.DataArray(rank_histogram(contender.members, trial.truth, seed=0))
            share = ranks.values / ranks.values.sum() * len(ranks)
            ax.plot(
                np.arange(len(ranks)), share, marker="o", color=PALETTE[number % len(PALETTE)], label=name
            )
        ax.axhline(1, color="0.3", linewidth=0.8)
        ax.set_xlabel("rank of the truth among the samples")
        ax.set_ylabel("frequency over uniform")
        ax.legend(fontsize=7)
        save_figure(
            fig,
            out,
            f"ranks_{trial.kind}",
            f"Rank histograms of {trial.kind}: flat where samples are calibrated, a U where they are alike.",
        )


def _choose_day(trial: Trial) -> int:
    """Choose the day whose anomalies differ most from cell to cell, at the 95th percentile."""
    contrast = np.nanstd(trial.truth.values - trial.normal, axis=(1, 2))
    return int(np.argsort(contrast)[int(0.95 * (len(contrast) - 1))])
