"""Policies that people can follow: a graph of what to do after what was seen, and rules in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from conservation_decisions.intervene.mdp import MDP, PolicyValue
from conservation_decisions.intervene.pomdp import PomdpSolution
from conservation_decisions.landscape import Floats
from isopleth.config import check_positive

# Beliefs closer than this are one node.
_SAME = 1e-6
# What ends with this chance or less of being reached is not followed.
_RARE = 1e-6


@dataclass(frozen=True)
class Node:
    """A moment of the policy.

    Attributes
    ----------
    action : str
    belief : tuple of float
        What is believed when the action is chosen.
    after : dict of str to int
        The node that follows each observation.
    """

    action: str
    belief: tuple[float, ...]
    after: dict[str, int]


@dataclass(frozen=True)
class PolicyGraph:
    """What to do from the first belief on; node 0 comes first."""

    nodes: tuple[Node, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the graph as JSON has it."""
        return {
            "nodes": [
                {"action": one.action, "belief": list(one.belief), "after": one.after} for one in self.nodes
            ]
        }

    def to_dot(self) -> str:
        """Return the graph in the language of Graphviz."""
        lines = [f'  {k} [label="{one.action}"];' for k, one in enumerate(self.nodes)]
        lines += [
            f'  {k} -> {follows} [label="{seen}"];'
            for k, one in enumerate(self.nodes)
            for seen, follows in one.after.items()
        ]
        return "\n".join(["digraph policy {", *lines, "}"])

    def runs(self, observation: str) -> list[tuple[str, int]]:
        """List what is done while one thing is observed again and again: actions and for how many years.

        Returns
        -------
        list of (action, years)
            The last entry goes on for ever and has 0 years.
        """
        seen: dict[int, int] = {}
        told: list[tuple[str, int]] = []
        node: int | None = 0
        while node is not None and node not in seen:
            seen[node] = len(seen)
            action = self.nodes[node].action
            years = told.pop()[1] if told and told[-1][0] == action else 0
            told.append((action, years + 1))
            node = self.nodes[node].after.get(observation)
        return [*told[:-1], (told[-1][0], 0)]


def build_graph(solution: PomdpSolution, *, most: int = 500) -> PolicyGraph:
    """Follow a solution from its first belief through everything that may be observed.

    A belief whose best plan acts for ever alike, whatever is seen, closes on itself. Observations that are
    next to impossible are left out.

    Parameters
    ----------
    solution : PomdpSolution
    most : int
        Nodes at which to stop; what lies beyond closes on itself.
    """
    check_positive(most=most)
    pomdp = solution.pomdp
    beliefs: list[Floats] = [pomdp.start]
    after: list[dict[str, int]] = []
    while len(after) < len(beliefs):
        number = len(after)
        follows: dict[str, int] = {}
        after.append(follows)
        if _stays(solution, beliefs[number]):
            follows |= dict.fromkeys(pomdp.observations, number)
            continue
        chance, next_beliefs = pomdp.follow(beliefs[number], solution.act(beliefs[number]))
        for k, name in enumerate(pomdp.observations):
            if chance[k] > _RARE:
                follows[name] = _place(beliefs, next_beliefs[k], most, number)
    names = pomdp.mdp.actions
    nodes = [
        Node(names[solution.act(belief)], tuple(float(b) for b in belief), links)
        for belief, links in zip(beliefs, after, strict=True)
    ]
    return PolicyGraph(tuple(nodes))


def _place(beliefs: list[Floats], belief: Floats, most: int, here: int) -> int:
    """Find a belief among the known ones, or append it."""
    near = np.abs(np.array(beliefs) - belief).max(axis=1)
    if near.min() < _SAME:
        return int(near.argmin())
    if len(beliefs) >= most:
        return here
    beliefs.append(belief)
    return len(beliefs) - 1


def _stays(solution: PomdpSolution, belief: Floats) -> bool:
    """Say whether the best plan is to do one thing for ever: its value is that of doing so."""
    mdp, action = solution.pomdp.mdp, solution.act(belief)
    matrix = np.eye(len(mdp.states)) - mdp.discount * mdp.transition[action]
    always = float(belief @ np.linalg.solve(matrix, mdp.reward[action]))
    best = solution.value(belief)
    return abs(always - best) <= 1e-9 * max(1.0, abs(best))


def write_rules(subject: PolicyGraph | tuple[MDP, PolicyValue]) -> list[str]:
    """Write a policy as sentences.

    Parameters
    ----------
    subject : PolicyGraph, or an MDP with its policy
    """
    if isinstance(subject, PolicyGraph):
        return _rules_of_graph(subject)
    mdp, found = subject
    rules = []
    for number, action in enumerate(mdp.actions):
        states = [name for name, chosen in zip(mdp.states, found.policy, strict=True) if chosen == number]
        if states:
            rules.append(f"In {_join(states)}: {action}.")
    return rules


def _rules_of_graph(graph: PolicyGraph) -> list[str]:
    observations = list(dict.fromkeys(name for node in graph.nodes for name in node.after))
    rules = []
    for seen in observations:
        *steps, (last, _) = graph.runs(seen)
        parts = [f"{action} for {years} year{'s' if years > 1 else ''}" for action, years in steps]
        rules.append(f"While {seen}: {', then '.join([*parts, f'{last} from then on'])}.")
    returns = {
        name
        for node in graph.nodes
        for name, follows in node.after.items()
        if follows == 0 and node is not graph.nodes[0]
    }
    return rules + [f"Once {name}: begin anew." for name in sorted(returns)]


def _join(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
