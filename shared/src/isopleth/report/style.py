"""The house style of figures: one light ground, few lines, colours that colour-blind readers tell apart."""

from __future__ import annotations

from typing import Any

# Okabe and Ito (2008), "Color Universal Design", darkened where thin lines on white need it; black last.
BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW = "#0b5a8f", "#cf5c00", "#00795c", "#a5527f", "#56a5d8", "#c79a00"
INK, MUTED, RULE, GROUND = "#1b1f24", "#5b6570", "#dfe3e7", "#ffffff"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW, INK)
LAND = "#eceeef"

# Perceptually uniform, readable in grey; the second has its neutral colour in the middle.
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"

WIDTH_INCHES = 9.0


def make_style() -> Any:
    """Return the rcParams of the house: what `isopleth.report.figure` draws under."""
    from matplotlib.rcsetup import cycler

    return {
        "axes.axisbelow": True,
        "axes.edgecolor": MUTED,
        "axes.facecolor": GROUND,
        "axes.grid": True,
        "axes.labelcolor": INK,
        "axes.labelsize": 10,
        "axes.linewidth": 0.8,
        "axes.prop_cycle": cycler(color=PALETTE),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.unicode_minus": True,
        "figure.constrained_layout.use": True,
        "figure.constrained_layout.h_pad": 0.08,
        "figure.dpi": 100,
        "figure.facecolor": GROUND,
        "font.family": "DejaVu Sans",  # ships with matplotlib: one look on every machine
        "font.size": 10,
        "grid.color": RULE,
        "grid.linewidth": 0.7,
        "legend.fontsize": 9,
        "legend.frameon": False,
        "lines.linewidth": 1.8,
        "lines.markersize": 5,
        "savefig.dpi": 200,
        "savefig.facecolor": GROUND,
        "svg.hashsalt": "isopleth",  # the same figure is the same file
        "text.color": INK,
        "xtick.color": MUTED,
        "xtick.labelcolor": INK,
        "xtick.labelsize": 9,
        "ytick.color": MUTED,
        "ytick.labelcolor": INK,
        "ytick.labelsize": 9,
    }
