"""The order of batches: known permutations, shares of processes, places."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, WeightedRandomSampler

from isopleth.errors import ConfigError, DataError
from isopleth.train import EpochSampler, ReplayableLoader


class Numbers(Dataset):
    def __init__(self, length: int) -> None:
        self.length = length
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        self.read.append(index)
        return index


class Indices(Numbers):
    """Whole batches of indices come in, as the windows of the packed store have it."""

    def __getitem__(self, index):
        return index


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(7))

    def __len__(self) -> int:
        return 7


class Endless(IterableDataset):
    def __iter__(self):
        return iter(range(7))


def epoch(loader) -> list[list[int]]:
    return [batch.tolist() for batch in loader]


@given(length=st.integers(1, 50), world=st.integers(1, 5), shuffle=st.booleans(), number=st.integers(0, 9))
def test_shares_together_are_the_common_order(length, world, shuffle, number):
    whole = EpochSampler(length, shuffle=shuffle, seed=4)
    shares = [EpochSampler(length, shuffle=shuffle, seed=4, rank=r, world=world) for r in range(world)]
    for sampler in (whole, *shares):
        sampler.set_epoch(number)
    order = list(whole)
    assert sorted(order) == list(range(length))
    dealt = [list(share) for share in shares]
    assert {len(share) for share in dealt} == {len(shares[0])}
    together = [index for places in zip(*dealt, strict=True) for index in places]
    assert together[:length] == order
    assert together[length:] == (order * world)[: len(together) - length]  # filled up from the start


@pytest.mark.parametrize("batch", [1, 3, 4])
def test_batches_of_two_processes_are_one_batch_of_twice_the_size(batch):
    def batches(rank, world, size):
        sampler = EpochSampler(24, shuffle=True, seed=0, rank=rank, world=world)
        return epoch(DataLoader(Numbers(24), sampler=sampler, batch_size=size))

    one = batches(0, 1, 2 * batch)
    both = [a + b for a, b in zip(batches(0, 2, batch), batches(1, 2, batch), strict=True)]
    assert [set(b) for b in both] == [set(b) for b in one]


def test_an_epoch_has_its_own_order_whatever_was_drawn_before():
    loader = ReplayableLoader(DataLoader(Numbers(20), batch_size=3, shuffle=True), seed=1)
    first, second = epoch(loader), epoch(loader)
    assert first != second
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - the global generator is what is tested
    again = ReplayableLoader(DataLoader(Numbers(20), batch_size=3, shuffle=True), seed=1)
    assert [epoch(again), epoch(again)] == [first, second]
    other = ReplayableLoader(DataLoader(Numbers(20), batch_size=3, shuffle=True), seed=2)
    assert epoch(other) != first


def test_iterating_leaves_the_random_state_alone():
    loader = ReplayableLoader(DataLoader(Numbers(8), batch_size=2, shuffle=True), seed=1)
    before = torch.get_rng_state()
    epoch(loader)
    assert torch.equal(torch.get_rng_state(), before)


def loaders(data: Dataset) -> dict[str, object]:
    return {
        "shuffled": DataLoader(data, batch_size=3, shuffle=True),
        "in order": DataLoader(data, batch_size=3),
        "dropping": DataLoader(data, batch_size=3, shuffle=True, drop_last=True),
        "weighted": DataLoader(data, batch_size=3, sampler=WeightedRandomSampler(torch.ones(20), 20)),
        "with replacement": DataLoader(data, batch_size=3, sampler=RandomSampler(data, replacement=True)),
        "iterable": DataLoader(Stream(), batch_size=3),
        "a list": [torch.arange(3), torch.arange(3, 6), torch.arange(6, 9)],
    }


@pytest.mark.parametrize("kind", loaders(Numbers(20)))
@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_a_place_is_found_again(kind, done):
    whole = ReplayableLoader(loaders(Numbers(20))[kind], seed=5)
    epochs = [epoch(whole), epoch(whole), epoch(whole)]
    going = ReplayableLoader(loaders(Numbers(20))[kind], seed=5)
    epoch(going)
    batches = iter(going)
    for _ in range(done):
        next(batches)
    state = going.state_dict()
    resumed = ReplayableLoader(loaders(Numbers(20))[kind], seed=5)
    resumed.load_state_dict(state)
    rest = epoch(resumed)
    if done == 0:
        assert rest == epochs[1]
    elif done == len(epochs[1]):
        assert rest == epochs[2]  # that epoch was over
    else:
        assert rest == epochs[1][done:]
        assert epoch(resumed) == epochs[2]


def test_samples_before_the_place_are_not_read():
    data = Numbers(1000)
    loader = ReplayableLoader(DataLoader(data, batch_size=10, shuffle=True), seed=0)
    loader.load_state_dict({"epoch": 3, "batch": 99, "own": None})
    assert len(epoch(loader)) == 1
    assert len(data.read) == 10


def test_a_loader_that_knows_its_place_is_asked():
    class Stateful:
        def __init__(self) -> None:
            self.place = 0

        def __len__(self) -> int:
            return 5

        def __iter__(self):
            while self.place < 5:
                self.place += 1
                yield torch.tensor([self.place])
            self.place = 0

        def state_dict(self):
            return {"place": self.place}

        def load_state_dict(self, state):
            self.place = state["place"]

    going = ReplayableLoader(Stateful(), seed=0)
    batches = iter(going)
    next(batches), next(batches)
    resumed = ReplayableLoader(Stateful(), seed=0)
    resumed.load_state_dict(going.state_dict())
    assert epoch(resumed) == [[3], [4], [5]]


def test_the_packed_store_loader_of_this_house_resumes():
    """`isopleth.data.BatchSampler` keeps its own place; both counts must agree."""
    loader_module = pytest.importorskip("isopleth.data.loader")

    def loader():
        return loader_module.WindowLoader(
            Indices(20),
            batch_size=None,
            sampler=loader_module.BatchSampler(20, 3, shuffle=True, seed=2),
            collate_fn=torch.tensor,
        )

    whole = ReplayableLoader(loader(), seed=0)
    epochs = [epoch(whole), epoch(whole), epoch(whole)]
    assert epochs[0] != epochs[1]
    for done in (0, 2, 7):
        going = ReplayableLoader(loader(), seed=0)
        epoch(going)
        batches = iter(going)
        for _ in range(done):
            next(batches)
        resumed = ReplayableLoader(loader(), seed=0)
        resumed.load_state_dict(going.state_dict())
        expected = epochs[2] if done == 7 else epochs[1][done:]
        assert epoch(resumed) == expected


def test_other_data_on_resume_and_no_data_are_named():
    loader = ReplayableLoader([torch.zeros(1)] * 3, seed=0)
    loader.load_state_dict({"epoch": 0, "batch": 5, "own": None})
    with pytest.raises(DataError, match="5 batches already done, got 3"):
        epoch(loader)
    with pytest.raises(DataError, match="at least one batch"):
        epoch(ReplayableLoader([], seed=0))
    with pytest.raises(ConfigError, match="must have a length, got DataLoader"):
        ReplayableLoader(DataLoader(Endless()), seed=0)
