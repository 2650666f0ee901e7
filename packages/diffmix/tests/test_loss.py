"""The losses against naive float64, in closed form, and over two processes."""

import math
import socket

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from diffmix.config import MethodConfig
from diffmix.loss import DistillationLoss, PairLoss


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def naive_nt_xent(first, second, temperature):
    z = np.concatenate([first, second]).astype(np.float64)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    count, total = len(first), 0.0
    for i in range(2 * count):
        logits = [z[i] @ z[k] / temperature for k in range(2 * count) if k != i]
        total += (
            math.log(sum(math.exp(value) for value in logits))
            - z[i] @ z[(i + count) % (2 * count)] / temperature
        )
    return total / (2 * count)


def naive_barlow(first, second, weight):
    a, b = (
        (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5)
        for z in (first.astype(np.float64), second.astype(np.float64))
    )
    total = 0.0
    for i in range(a.shape[1]):
        for j in range(a.shape[1]):
            c = (a[:, i] * b[:, j]).mean()
            total += (1 - c) ** 2 if i == j else weight * c**2
    return total


def naive_dino(teacher, student, center, hot, cold):
    def softmax(x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    terms = []
    for t, taught in enumerate(teacher):
        for s, seen in enumerate(student):
            if s != t:
                p, q = (
                    softmax((taught.astype(np.float64) - center) / cold),
                    softmax(seen.astype(np.float64) / hot),
                )
                terms.append(-(p * np.log(q)).sum(1).mean())
    return np.mean(terms)


@pytest.mark.parametrize(("pairs", "dim", "temperature"), [(2, 3, 0.5), (7, 16, 0.07), (16, 4, 0.2)])
def test_nt_xent_is_the_naive_one(pairs, dim, temperature):
    first, second = draw(pairs, dim), draw(pairs, dim, seed=1)
    loss = PairLoss(MethodConfig(temperature=temperature))
    assert float(loss(first, second)) == pytest.approx(
        naive_nt_xent(first.numpy(), second.numpy(), temperature), rel=1e-5
    )
    assert float(loss(second, first)) == pytest.approx(float(loss(first, second)), rel=1e-5)


def test_equal_projections_are_as_good_as_chance():
    loss = PairLoss(MethodConfig())
    same = torch.ones(8, 4)
    assert float(loss(same, same)) == pytest.approx(math.log(15), rel=1e-5)
    assert loss.chance(8) == pytest.approx(math.log(15))


def test_a_low_temperature_in_half_precision_stays_finite():
    loss = PairLoss(MethodConfig(temperature=0.01))
    first = draw(8, 4).half()
    assert torch.isfinite(loss(first, first))


@pytest.mark.parametrize(("pairs", "dim", "weight"), [(8, 3, 0.005), (32, 16, 0.1)])
def test_barlow_is_the_naive_one(pairs, dim, weight):
    first, second = draw(pairs, dim), draw(pairs, dim, seed=1)
    loss = PairLoss(MethodConfig(kind="barlow", redundancy=weight))
    assert float(loss(first, second)) == pytest.approx(
        naive_barlow(first.numpy(), second.numpy(), weight), rel=1e-4
    )
    assert loss.chance(pairs) is None


@pytest.mark.parametrize("local", [0, 3])
def test_dino_is_the_naive_one_and_moves_its_centre(local):
    config = MethodConfig(
        kind="dino", output_dim=6, temperature=0.1, teacher_temperature=0.05, warm_teacher_epochs=0
    )
    loss = DistillationLoss(config)
    center = np.zeros(6)
    for step in range(3):
        teacher = [0.1 * draw(5, 6, seed=10 * step + view) for view in range(2)]
        student = [0.1 * draw(5, 6, seed=100 * step + view + 7) for view in range(2 + local)]
        expected = naive_dino([t.numpy() for t in teacher], [s.numpy() for s in student], center, 0.1, 0.05)
        assert float(loss(teacher, student, epoch=step)) == pytest.approx(expected, rel=1e-4)
        center = 0.9 * center + 0.1 * torch.stack(teacher).mean((0, 1)).double().numpy()
    np.testing.assert_allclose(loss.loss.center.flatten(), center, atol=1e-6)


def test_a_uniform_student_is_at_ln_k():
    loss = DistillationLoss(MethodConfig(kind="dino", output_dim=4096))
    logits = [torch.zeros(2, 4096)] * 2
    assert float(loss(logits, logits, epoch=0)) == pytest.approx(8.3178, abs=1e-4)
    assert loss.chance() == pytest.approx(8.3178, abs=1e-4)


def test_the_teachers_temperature_warms_up():
    config = MethodConfig(
        kind="dino", teacher_temperature=0.07, warm_teacher_temperature=0.04, warm_teacher_epochs=10
    )
    loss = DistillationLoss(config)
    assert [loss.temperature(epoch) for epoch in (0, 5, 10, 99)] == pytest.approx([0.04, 0.055, 0.07, 0.07])


def compute_gradient(kind, first, second):
    """Give the gradient of a loss with respect to a linear map that made the projections."""
    torch.manual_seed(3)
    head = torch.nn.Linear(5, 6)
    config = MethodConfig(kind=kind, temperature=0.2, redundancy=0.1, output_dim=6, warm_teacher_epochs=0)
    if kind == "dino":
        views = [head(first), head(second)]
        value = DistillationLoss(config)([view.detach() for view in views], views, epoch=0)
    else:
        value = PairLoss(config)(head(first), head(second))
    value.backward()
    return head.weight.grad, value.detach()


KINDS = ("simclr", "barlow", "dino")


def run_rank(rank, port, queue):
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.set_num_threads(1)
    part = slice(4 * rank, 4 * rank + 4)
    for kind in KINDS:
        gradient, value = compute_gradient(kind, draw(8, 5)[part], draw(8, 5, seed=1)[part])
        dist.all_reduce(gradient)  # what DDP does: the mean over processes
        dist.all_reduce(value)
        queue.put((kind, (gradient / 2).tolist(), float(value) / 2))
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow  # two processes that import torch anew
def test_two_processes_give_the_gradient_of_one():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = mp.get_context("spawn")
    queue = context.SimpleQueue()
    workers = [context.Process(target=run_rank, args=(rank, port, queue)) for rank in range(2)]
    for worker in workers:
        worker.start()
    found = [queue.get() for _ in range(2 * len(KINDS))]
    for worker in workers:
        worker.join(60)
    assert {kind for kind, _, _ in found} == set(KINDS)
    for kind, theirs, loss in found:
        gradient, value = compute_gradient(kind, draw(8, 5), draw(8, 5, seed=1))
        np.testing.assert_allclose(theirs, gradient.numpy(), rtol=1e-4, atol=1e-6)
        assert loss == pytest.approx(float(value), rel=1e-5)
