"""Cut storm-following windows: many centres at once against one after the other."""

from itertools import cycle

import numpy as np

from isopleth.benchmark import emit, measure_rate, ratio, side
from isopleth.grid import Grid, cut_window

SIDE, AT_ONCE = 25, 10_000


def main() -> None:
    grid = Grid.regular(721, 1440, poles=True)
    rng = np.random.default_rng(0)
    field = rng.normal(size=grid.shape).astype("f4")
    lat, lon = rng.uniform(-90, 90, AT_ONCE), rng.uniform(0, 360, AT_ONCE)
    centres = cycle(range(AT_ONCE))

    def cut_many() -> int:
        return len(cut_window(field, grid, lat, lon, SIDE, SIDE))

    def cut_one() -> int:
        centre = next(centres)
        cut_window(field, grid, lat[centre], lon[centre], SIDE, SIDE)
        return 1

    many = side(f"{AT_ONCE:,} windows at a time", measure_rate(cut_many, seconds=3), "windows/s")
    single = side("one window at a time", measure_rate(cut_one, seconds=3), "windows/s")
    emit(
        {
            "benchmark": "windows",
            "sides": [many, single],
            "ratios": [ratio("windows at once / one by one", many, single)],
            "note": f"{SIDE} x {SIDE} windows of a 721 x 1440 float32 field in memory, centres anywhere on "
            "the globe; at once, gathering from memory limits it; one by one, Python's overhead a call",
        }
    )


if __name__ == "__main__":
    main()
