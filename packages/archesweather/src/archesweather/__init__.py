"""Train, roll out and verify ArchesWeather, a weather model with column-wise cross-level attention."""

__version__ = "0.1.0"
