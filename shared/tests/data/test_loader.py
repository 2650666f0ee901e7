from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from isopleth.data import Windows, make_loader
from isopleth.data.loader import BatchSampler
from isopleth.errors import ConfigError


def indices(loader) -> list[list[int]]:
    return [batch["index"].tolist() for batch in loader]


def order(sampler: BatchSampler) -> list[list[int]]:
    return list(sampler)


def test_an_epoch_has_every_window_once(store) -> None:
    windows = Windows(store)
    loader = make_loader(windows, batch_size=5, shuffle=True, seed=3)
    batches = indices(loader)
    assert len(batches) == len(loader) == 5
    assert sorted(itertools.chain(*batches)) == list(range(1, 23))
    assert indices(make_loader(windows, batch_size=5, shuffle=False)) == [
        list(range(a, min(a + 5, 23))) for a in range(1, 23, 5)
    ]


def test_drop_last_leaves_the_rest_out(store) -> None:
    loader = make_loader(Windows(store), batch_size=5, shuffle=True, drop_last=True)
    assert [len(batch) for batch in indices(loader)] == [5] * 4
    assert len(loader) == 4


def test_the_order_depends_on_seed_and_epoch_alone(store) -> None:
    one, same, other = (make_loader(Windows(store), batch_size=4, shuffle=True, seed=s) for s in (1, 1, 2))
    first, second = indices(one), indices(one)  # a plain loop goes on to the next epoch
    assert first != second
    assert indices(other) != first
    same.sampler.set_epoch(1)
    torch.manual_seed(99)
    np.random.default_rng(99)
    assert indices(same) == second
    same.sampler.set_epoch(0)
    assert indices(same) == first


def test_a_sampler_of_ones_own_decides_the_order_and_what_may_resume_it(store) -> None:
    class Backwards(BatchSampler):
        def order(self) -> np.ndarray:
            return np.arange(self.n_samples)[::-1]

        def identity(self) -> dict:
            return {**super().identity(), "backwards": True}

    windows = Windows(store)
    sampler = Backwards(len(windows), 5, drop_last=True)
    assert indices(make_loader(windows, batch_size=1, shuffle=True, sampler=sampler))[0] == [
        22,
        21,
        20,
        19,
        18,
    ]
    begun = {**BatchSampler(len(windows), 5, drop_last=True).state_dict(), "delivered": 1}
    with pytest.raises(ConfigError, match="backwards"):
        sampler.load_state_dict(begun)


def test_it_does_not_move_the_global_random_state(store) -> None:
    loader = make_loader(Windows(store), batch_size=4, shuffle=True)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(loader)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loop_that_was_broken_off_begins_again(store) -> None:
    loader = make_loader(Windows(store), batch_size=4, shuffle=True)
    whole = order(BatchSampler(22, 4))
    for _ in loader:
        break
    assert [[i - 1 for i in batch] for batch in indices(loader)] == whole


@pytest.mark.parametrize("world_size", [2, 3, 4])
@pytest.mark.parametrize("drop_last", [True, False])
def test_ranks_together_see_what_one_process_sees(world_size: int, drop_last: bool) -> None:
    one = order(BatchSampler(50, 3 * world_size, seed=5, drop_last=drop_last))
    ranks = [
        order(BatchSampler(50, 3, seed=5, drop_last=drop_last, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    assert len(ranks[0]) == len(one)
    for step, batch in enumerate(one):
        together = list(itertools.chain(*(batches[step] for batches in ranks)))
        assert together[: len(batch)] == batch
        assert len(together) - len(batch) == (-len(batch)) % world_size  # filled up to be divided
        assert len({len(batches[step]) for batches in ranks}) == 1


def test_fewer_samples_than_ranks_still_give_each_a_batch() -> None:
    ranks = [order(BatchSampler(2, 4, rank=rank, world_size=5)) for rank in range(5)]
    assert [len(batches) for batches in ranks] == [1] * 5
    assert {i for batches in ranks for i in batches[0]} == {0, 1}


@pytest.mark.parametrize("stop", range(7))
def test_an_epoch_goes_on_where_its_state_was_taken(store, stop: int) -> None:
    def fresh():
        return make_loader(Windows(store), batch_size=4, shuffle=True, seed=7)

    unbroken = fresh()
    unbroken.sampler.set_epoch(2)
    expected = [indices(unbroken), indices(unbroken)]

    first = fresh()
    first.sampler.set_epoch(2)
    batches = iter(first)
    seen = [next(batches)["index"].tolist() for _ in range(min(stop, 6))]
    state = first.state_dict()
    assert state["epoch"] == 2
    assert state["delivered"] == len(seen)

    second = fresh()
    second.load_state_dict(state)
    assert len(second) == 6  # of the whole epoch
    rest = indices(second)
    if stop >= 6:  # the epoch was over: the next begins
        assert rest == expected[1]
    else:
        assert seen + rest == expected[0]
        assert indices(second) == expected[1]


def test_lightnings_order_of_calls_resumes_too(store) -> None:
    """Lightning loads the state, calls iter, then set_epoch, then next."""
    loader = make_loader(Windows(store), batch_size=4, shuffle=True, seed=7)
    loader.sampler.set_epoch(1)
    expected = indices(loader)
    resumed = make_loader(Windows(store), batch_size=4, shuffle=True, seed=7)
    state = {**loader.state_dict(), "delivered": 2}
    resumed.load_state_dict(state)
    batches = iter(resumed)
    resumed.sampler.set_epoch(1)
    assert [batch["index"].tolist() for batch in batches] == expected[2:]


def test_a_state_is_json(store) -> None:
    state = make_loader(Windows(store), batch_size=4, shuffle=True).state_dict()
    assert json.loads(json.dumps(state)) == state


@pytest.mark.parametrize("change", [{"batch_size": 5}, {"seed": 1}, {"drop_last": True}, {"shuffle": False}])
def test_an_epoch_under_way_is_not_continued_otherwise(store, change: dict) -> None:
    options = {"batch_size": 4, "shuffle": True, "seed": 0}
    loader = make_loader(Windows(store), **options)
    next(iter(loader))
    state = loader.state_dict()
    other = make_loader(Windows(store), **{**options, **change})
    with pytest.raises(ConfigError, match=f"same batches, got .*{next(iter(change))}"):
        other.load_state_dict(state)
    finished = {**state, "delivered": state["batches"]}
    other.load_state_dict(finished)  # at the end of an epoch anything may change
    assert len(indices(other)) == len(other)
    assert other.sampler.epoch == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_size": 99, "drop_last": True}, "batch_size must be at most the number of windows"),
        ({"workers": -1}, "workers must be 'auto' or at least 0"),
        ({"workers": "many"}, "workers must be 'auto'"),
        ({"start_method": "magic"}, "start_method must be one of"),
        ({"rank": 2, "world_size": 2}, "rank must be below world_size"),
        ({"rank": 0}, "rank must be below world_size"),
    ],
)
def test_senseless_options_are_named(store, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_loader(Windows(store), **{"batch_size": 4, "shuffle": True, **options})


def test_workers_are_chosen_by_where_the_windows_are(store) -> None:
    assert make_loader(Windows(store), batch_size=4, shuffle=True).num_workers == 0
    lazy = make_loader(Windows(store, memory_budget=0), batch_size=4, shuffle=True)
    assert 1 <= lazy.num_workers <= 8
    assert lazy.multiprocessing_context.get_start_method() == "forkserver"
    assert lazy.persistent_workers


# Worker processes


def open_files(process: int | str = "self") -> int:
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


def resident_mb(process: int | str = "self") -> float:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


# Python 3.12 warns of a fork with threads: that it does no harm here is what these tests show.
FORKS = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
LINUX = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts files in Linux's /proc")


@FORKS
@LINUX
@pytest.mark.timeout(120)
@pytest.mark.parametrize("start_method", ["fork", "forkserver"])
def test_workers_neither_deadlock_nor_leak(store, start_method: str) -> None:
    windows = Windows(store, memory_budget=0)
    alone = make_loader(windows, batch_size=4, shuffle=True, seed=2, workers=0)
    expected = [
        indices(alone) for _ in range(4)
    ]  # opens the arrays in this process, and starts zarr's threads
    loader = make_loader(windows, batch_size=4, shuffle=True, seed=2, workers=2, start_method=start_method)
    assert [indices(loader) for _ in range(4)] == expected
    pids = [worker.pid for worker in loader._iterator._workers]
    files, memory = [open_files(), *map(open_files, pids)], [resident_mb(), *map(resident_mb, pids)]
    for epoch in range(40):
        assert len(indices(loader)) == 6
        if epoch % 10 == 0:
            for _ in loader:  # an epoch that is broken off
                break
    grown = [
        after - before for after, before in zip([resident_mb(), *map(resident_mb, pids)], memory, strict=True)
    ]
    assert [open_files(), *map(open_files, pids)] == pytest.approx(files, abs=4)
    assert max(grown) < 20
    assert [worker.pid for worker in loader._iterator._workers] == pids
    del loader
    assert not any(Path(f"/proc/{pid}/fd").is_dir() and _alive(pid) for pid in pids)


def _alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@FORKS
@LINUX
@pytest.mark.timeout(120)
def test_many_loaders_leave_nothing_behind(store) -> None:
    def once() -> None:
        for windows in (Windows(store, memory_budget=0), Windows(store)):
            loader = make_loader(windows, batch_size=8, shuffle=True, workers=1, start_method="fork")
            assert len(indices(loader)) == 3

    once()
    files, memory = open_files(), resident_mb()
    for _ in range(8):
        once()
    assert open_files() <= files + 2
    assert resident_mb() - memory < 30


@FORKS
@pytest.mark.timeout(120)
@pytest.mark.parametrize("start_method", ["fork", "forkserver"])
def test_fields_in_memory_are_shared_with_workers(store, start_method: str) -> None:
    windows = Windows(store)
    loader = make_loader(windows, batch_size=4, shuffle=True, seed=2, workers=1, start_method=start_method)
    assert indices(loader) == indices(make_loader(windows, batch_size=4, shuffle=True, seed=2))
    assert windows._is_shared() == (start_method == "forkserver")


def test_what_travels_to_a_worker_is_small(store) -> None:
    from multiprocessing.reduction import ForkingPickler

    windows = Windows(store).load()
    sent = ForkingPickler.dumps(windows)
    assert len(sent) < 10_000 < windows._loaded["fields"].nbytes
    again = ForkingPickler.loads(sent)
    assert not again.in_memory
    assert torch.equal(again[3]["inputs"], windows[3]["inputs"])


RANK = """
import sys
import torch.distributed as dist
from isopleth.data import Windows, make_loader

rank, path, meeting = int(sys.argv[1]), sys.argv[2], sys.argv[3]
loader = make_loader(Windows(path), batch_size=4, shuffle=True, seed=2)
dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
print([batch["index"].tolist() for batch in loader])
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ranks_are_those_of_torch_distributed_even_if_it_begins_later(store, tmp_path: Path) -> None:
    commands = [
        [sys.executable, "-c", RANK, str(r), str(store.path), str(tmp_path / "meet")] for r in range(2)
    ]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    lines = [process.communicate()[0] for process in processes]
    a, b = (json.loads(line.splitlines()[-1]) for line in lines)
    one = indices(make_loader(Windows(store), batch_size=8, shuffle=True, seed=2))
    assert [left + right for left, right in zip(a, b, strict=True)] == one


# Lightning's own: a deprecation in torch it has not followed; no workers, on purpose.
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning", "ignore:.*does not have many workers")
@pytest.mark.slow
@pytest.mark.parametrize("stop", [2, 6, 9])  # in mid-epoch, at the end of one, in the second
def test_lightning_resumes_to_the_same_weights(store, tmp_path: Path, stop: int) -> None:
    import lightning.pytorch as L

    class Model(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv2d(8, 4, 1)

        def training_step(self, batch, number):
            return (self.layer(batch["inputs"].flatten(1, 2)) - batch["targets"][:, 0]).square().mean()

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), lr=1e-2)

    class Save(L.Callback):
        def on_train_batch_end(self, trainer, *rest) -> None:
            if trainer.global_step == stop:
                trainer.save_checkpoint(tmp_path / "at.ckpt")

    def train(seed: int, **options) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        model = Model()
        loader = make_loader(Windows(store), batch_size=4, shuffle=True)
        quiet = dict.fromkeys(
            ["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"], False
        )
        trainer = L.Trainer(max_steps=13, accelerator="cpu", callbacks=[Save()], **quiet)
        trainer.fit(model, loader, **options)
        return list(model.parameters())

    unbroken = train(0)
    resumed = train(5, ckpt_path=tmp_path / "at.ckpt", weights_only=True)
    assert all(torch.equal(a, b) for a, b in zip(unbroken, resumed, strict=True))
