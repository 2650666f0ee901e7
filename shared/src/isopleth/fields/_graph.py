"""Sparse graphs of cells for spectral clustering."""

from __future__ import annotations

import numpy as np
from scipy import sparse, spatial
from scipy.sparse import csgraph, linalg

from isopleth.fields._cells import Pairs

# An edge of full weight: weaker ones would let a pond, cut off for next to nothing, pass for a region.
_BRIDGE = 1.0
# About how many cells of a part the nearest in another part is looked for from.
_SEARCHED = 128
# The grid's edges never vanish, however unlike their ends.
_FAINTEST = 1e-3


def feature_graph(points: np.ndarray, neighbours: int) -> sparse.csr_array:
    """Join each point to its nearest in feature space; weight 1 where both name each other, else 1/2."""
    count = len(points)
    _, nearest = spatial.cKDTree(points).query(points, k=neighbours + 1)
    rows = np.repeat(np.arange(count), neighbours + 1)
    columns = np.reshape(nearest, -1)
    other = rows != columns  # among duplicates a point need not come first in its own list
    directed = sparse.csr_array((np.ones(other.sum()), (rows[other], columns[other])), shape=(count, count))
    return ((directed + directed.T) / 2).tocsr()


def grid_graph(points: np.ndarray, valid: np.ndarray, pairs: Pairs) -> sparse.csr_array:
    """Join cells that share an edge, by exp(-d^2 / 2 s^2): d is their distance in features, s its median."""
    place = np.cumsum(valid) - 1
    both = valid[pairs.first] & valid[pairs.second]
    a, b = place[pairs.first[both]], place[pairs.second[both]]
    distance = np.linalg.norm(points[a] - points[b], axis=1)
    scale = np.median(distance) if distance.size else 1.0
    likeness = np.exp(-0.5 * (distance / (scale or 1.0)) ** 2)
    weight = np.maximum(likeness, _FAINTEST)
    upper = sparse.csr_array((weight, (a, b)), shape=(len(points), len(points)))
    return (upper + upper.T).tocsr()


def connect(graph: sparse.csr_array, points: np.ndarray) -> sparse.csr_array:
    """Join the parts of a graph by edges between near points, as a disconnected one has no embedding.

    Each round joins every part to the nearest other one, and so at least halves their number.
    """
    while True:
        count, part = csgraph.connected_components(graph, directed=False)
        if count == 1:
            return graph
        bridges = np.array([_nearest_outside(points, part == number) for number in range(count)])
        new = sparse.csr_array((np.full(count, _BRIDGE), tuple(bridges.T)), shape=graph.shape)
        new = new.maximum(new.T)
        graph = graph + new


def _nearest_outside(points: np.ndarray, inside: np.ndarray) -> tuple[int, int]:
    here, there = np.flatnonzero(inside), np.flatnonzero(~inside)
    # Search from the smaller side, and not from all of it: far apart in many dimensions a tree saves nothing.
    few, many = sorted((here, there), key=len)
    few = few[:: max(1, len(few) // _SEARCHED)]
    found = spatial.cKDTree(points[many]).query(points[few])
    distance, nearest = np.asarray(found[0]), np.asarray(found[1])
    best = int(distance.argmin())
    return int(few[best]), int(many[nearest[best]])


def embed(graph: sparse.csr_array, dimensions: int, seed: int, *, factorise: bool) -> np.ndarray:
    r"""Return the leading eigenvectors of :math:`D^{-1/2} W D^{-1/2}`, each row scaled by :math:`D^{-1/2}`.

    They are those of the random walk's Laplacian, I - D^{-1} W, of smallest eigenvalue (Shi and Malik, IEEE
    PAMI 22, 2000). Factorising is the quick way for a grid, whose eigenvalues lie close together and whose
    factors stay sparse, and the slow one for neighbours in feature space, which are the other way round.
    """
    inverse_root = 1 / np.sqrt(graph.sum(axis=1))
    walk = sparse.diags_array(inverse_root) @ graph @ sparse.diags_array(inverse_root)
    start = np.random.default_rng(seed).uniform(0.5, 1.5, graph.shape[0])
    # Largest by value: just above 1 nothing is singular.
    how = {"sigma": 1 + 1e-6, "which": "LM"} if factorise else {"which": "LA"}
    _, vectors = linalg.eigsh(walk.tocsc(), k=dimensions, v0=start, **how)
    return vectors * inverse_root[:, None]


def merge_fragments(labels: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Give what lies apart from a region's largest part to the region it shares the longest border with.

    Smallest fragments first; a fragment without a labelled neighbour stays as it is.
    """
    labels = labels.copy()
    stuck: set[int] = set()
    while True:
        part, fragments = _fragments(labels, pairs)
        fragments = [number for number in fragments if np.flatnonzero(part == number)[0] not in stuck]
        if not fragments:
            return labels
        cells = part == fragments[0]
        target = _longest_border(labels, cells, pairs)
        if target is None:
            stuck.add(int(np.flatnonzero(cells)[0]))
        else:
            labels[cells] = target


def _fragments(labels: np.ndarray, pairs: Pairs) -> tuple[np.ndarray, list[int]]:
    """Return the connected part of each cell (-1 outside), and which parts are not their region's largest."""
    same = (labels[pairs.first] == labels[pairs.second]) & (labels[pairs.first] >= 0)
    graph = sparse.coo_array(
        (np.ones(same.sum()), (pairs.first[same], pairs.second[same])), shape=(labels.size, labels.size)
    )
    part = csgraph.connected_components(graph, directed=False)[1]
    part = np.where(labels >= 0, part, -1)
    found, first, size = np.unique(part[part >= 0], return_index=True, return_counts=True)
    region = labels[part >= 0][first]
    order = np.argsort(-size, kind="stable")
    _, largest = np.unique(region[order], return_index=True)
    small = np.setdiff1d(np.arange(len(found)), order[largest])
    return part, [int(found[i]) for i in small[np.argsort(size[small], kind="stable")]]


def _longest_border(labels: np.ndarray, cells: np.ndarray, pairs: Pairs) -> int | None:
    border = cells[pairs.first] != cells[pairs.second]
    outer = np.where(cells[pairs.first], labels[pairs.second], labels[pairs.first])[border]
    if not (outer >= 0).any():
        return None
    length = np.bincount(outer[outer >= 0], weights=pairs.length[border][outer >= 0])
    return int(length.argmax())
