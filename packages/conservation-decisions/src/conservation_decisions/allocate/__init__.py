"""Choose units: exactly, robustly, with alternatives, and with the gap to the best printed.

``problem`` says what is asked, ``model`` writes it as a mixed-integer linear program, ``solver`` solves it,
``solution`` verifies the answer. ``portfolio`` finds other good answers, ``importance`` says which units
matter, ``equity`` who gets what, ``annealing`` is there for comparison.
"""

from conservation_decisions.allocate.annealing import anneal
from conservation_decisions.allocate.equity import Equity, measure_equity
from conservation_decisions.allocate.importance import rank_importance, replacement_cost
from conservation_decisions.allocate.portfolio import find_portfolio
from conservation_decisions.allocate.problem import Problem
from conservation_decisions.allocate.solution import Solution, allocate, verify_selection

__all__ = [
    "Equity",
    "Problem",
    "Solution",
    "allocate",
    "anneal",
    "find_portfolio",
    "measure_equity",
    "rank_importance",
    "replacement_cost",
    "verify_selection",
]
