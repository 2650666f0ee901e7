"""Allocate, plan and intervene for conservation, and know how good the decision is.

Rooms: ``landscape`` is the one problem, ``sources`` reads it and ``sample`` generates it, ``check`` finds
what is wrong with it. ``allocate`` chooses units, ``plan`` routes patrols and surveys, ``intervene`` acts
over years, ``evaluate`` says what a decision is worth under uncertain predictions, ``loss`` learns for
decisions.
"""

__version__ = "0.1.0"
