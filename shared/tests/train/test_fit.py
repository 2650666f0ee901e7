"""What `fit` does around Lightning's loop."""

from __future__ import annotations

import csv
import json
import logging
import signal
import threading
from dataclasses import replace
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from isopleth.errors import ConfigError, TrainingError
from isopleth.train import Interrupted, RunDirectory, Runtime, adamw, fit, load_checkpoint
from isopleth.train.trainer import compile_networks

CPU = Runtime(accelerator="cpu", seed=3)
X = torch.linspace(-1, 1, 24)[:, None]
Y = 2 * X + 1


class Pairs(Dataset):
    """A line; some samples can be spoilt."""

    def __init__(self, *, spoilt: int | None = None) -> None:
        self.x = X.clone()
        if spoilt is not None:
            self.x[spoilt] = float("inf")

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> dict:
        return {"x": self.x[index], "y": Y[index], "index": index, "time": f"2001-01-{index + 1:02}"}


class Line(L.LightningModule):
    """y = a x + b; may spoil its own loss, or its own gradient."""

    def __init__(self, *, nan_loss_at: int | None = None, nan_gradient_at: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(1, 1)
        self.register_buffer("offset", torch.tensor([0.1]))
        self.nan_loss_at, self.nan_gradient_at = nan_loss_at, nan_gradient_at
        self.scores: list[float] = []

    def training_step(self, batch, batch_idx):
        loss = (self.net(batch["x"]) + self.offset - batch["y"]).square().mean()
        if self.global_step == self.nan_loss_at:
            loss = loss * float("nan")
        if self.global_step == self.nan_gradient_at:
            loss = loss + (self.net.weight.sum() * 0).abs().sqrt()  # finite; its gradient is 0 times infinity
        self.log("loss", loss, batch_size=len(batch["x"]))
        return loss

    def validation_step(self, batch, batch_idx):
        score = (self.net(batch["x"]) + self.offset - batch["y"]).square().mean()
        value = self.scores[self.current_epoch] if self.scores else score
        self.log("val_loss", value, batch_size=len(batch["x"]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.3)


def loader(*, shuffle: bool = True, **options) -> DataLoader:
    return DataLoader(Pairs(**options), batch_size=4, shuffle=shuffle)


def rows(run: RunDirectory) -> list[dict[str, str]]:
    with run.metrics.open() as file:
        return list(csv.DictReader(file))


def test_it_learns_and_leaves_a_run_directory(tmp_path, capfd):
    module = Line()
    result = fit(module, loader(), loader(), run_dir=tmp_path / "run", runtime=CPU, max_epochs=8, config=CPU)
    assert (result.epochs, result.steps) == (8, 48)
    assert result.best_score == result.metrics["val_loss"] < 1e-4
    assert not result.stopped_early
    assert json.loads(json.dumps(result.to_dict()))["checkpoint"].endswith("best.ckpt")
    torch.testing.assert_close(module.net.weight.detach(), torch.tensor([[2.0]]), atol=0.05, rtol=0)
    found = {path.relative_to(tmp_path / "run").as_posix() for path in (tmp_path / "run").rglob("*")}
    assert found == {
        "checkpoints",
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
        "metrics.csv",
        "config.yaml",
    }
    assert "seed: 3" in result.run.config.read_text()
    assert capfd.readouterr() == ("", "")  # no banner, no tip, no bar: this is not a terminal
    logged = rows(result.run)
    assert list(logged[0]) == ["epoch", "step", "gradient_norm", "loss", "val_loss"]
    assert [row["step"] for row in logged if row["val_loss"]] == [str(6 * k - 1) for k in range(1, 9)]


def test_the_log_has_a_line_an_epoch(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="isopleth")
    fit(Line(), loader(), loader(), run_dir=tmp_path / "run", runtime=CPU, max_epochs=2)
    lines = [record.message for record in caplog.records]
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2 step 12 ")
    assert "val_loss=" in lines[1]


def test_lightnings_loggers_and_signals_are_as_before(tmp_path):
    chatter = logging.getLogger("lightning.pytorch")
    before = chatter.level, signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    fit(Line(), loader(), run_dir=tmp_path / "run", runtime=CPU, max_epochs=1)
    assert (chatter.level, signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_it_runs_outside_the_main_thread(tmp_path):
    results = []
    thread = threading.Thread(
        target=lambda: results.append(
            fit(Line(), loader(), run_dir=tmp_path / "run", runtime=CPU, max_epochs=1)
        )
    )
    thread.start()
    thread.join()
    assert results[0].steps == 6


def test_the_best_checkpoint_is_that_of_the_best_validation(tmp_path):
    module = Line()
    module.scores = [3.0, 1.0, 2.0, float("nan")]
    result = fit(module, loader(), loader(), run_dir=tmp_path / "run", runtime=CPU, max_epochs=4)
    assert result.best_score == 1.0
    assert load_checkpoint(result.checkpoint)["global_step"] == 12
    assert load_checkpoint(result.run.last)["global_step"] == 24
    module = Line()
    module.scores = [3.0, 1.0, 2.0, 2.5]
    result = fit(module, loader(), loader(), run_dir=tmp_path / "max", runtime=CPU, max_epochs=4, mode="max")
    assert (result.best_score, load_checkpoint(result.checkpoint)["global_step"]) == (3.0, 6)


def test_patience_runs_out_and_stays_out_on_resume(tmp_path):
    def train(*, resume):
        module = Line()
        module.scores = [1.0, 2.0, 3.0, 0.5, 0.4, 0.3]
        return fit(
            module, loader(), loader(), run_dir=tmp_path / "run", runtime=CPU,
            max_epochs=6, patience=2, resume=resume,
        )  # fmt: skip

    first = train(resume=False)
    assert (first.epochs, first.stopped_early, first.best_score) == (3, True, 1.0)
    again = train(resume=True)
    assert (again.steps, again.stopped_early, again.best_score) == (first.steps, True, 1.0)


def test_the_average_is_the_recursion_and_buffers_are_copied(tmp_path):
    decay, steps = 0.5, 6
    seen: list[torch.Tensor] = []

    class Watch(L.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            seen.append(module.net.weight.detach().clone())

    module = Line()
    result = fit(
        module, loader(), loader(), run_dir=tmp_path / "run", max_epochs=1, callbacks=[Watch()],
        runtime=Runtime(accelerator="cpu", ema=decay),
    )  # fmt: skip
    assert len(seen) == steps
    expected = seen[0]
    for weight in seen[1:]:
        expected = decay * expected + (1 - decay) * weight
    torch.testing.assert_close(module.net.weight.detach(), expected, atol=1e-7, rtol=0)
    saved = load_checkpoint(result.checkpoint)
    torch.testing.assert_close(saved["state_dict"]["net.weight"], expected, atol=1e-7, rtol=0)
    assert torch.equal(saved["current_model_state"]["net.weight"], seen[-1])
    assert torch.equal(module.offset, torch.tensor([0.1]))
    with torch.no_grad():
        score = (module.net(X) + module.offset - Y).square().mean()
    assert result.best_score == pytest.approx(float(score), rel=1e-5)  # validation saw the average


def test_a_finished_run_can_be_prolonged_and_equals_a_long_one(tmp_path):
    def train(name, *, epochs, resume=False, ema=None):
        module = Line()
        runtime = Runtime(accelerator="cpu", ema=ema)
        result = fit(
            module,
            loader(),
            loader(),
            run_dir=tmp_path / name,
            runtime=runtime,
            max_epochs=epochs,
            resume=resume,
        )
        return module, result

    for ema in (None, 0.9):
        whole, long = train(f"long{ema}", epochs=4, ema=ema)
        train(f"short{ema}", epochs=2, ema=ema)
        module, result = train(f"short{ema}", epochs=4, resume=True, ema=ema)
        assert torch.equal(module.net.weight, whole.net.weight)
        assert rows(result.run) == rows(long.run)
        same, again = train(f"short{ema}", epochs=4, resume=True, ema=ema)  # nothing left to do
        assert torch.equal(same.net.weight, whole.net.weight)
        assert (again.steps, again.epochs) == (24, 4)


def test_more_steps_after_max_steps_in_mid_epoch(tmp_path):
    def train(name, *, steps, resume=False):
        module = Line()
        fit(module, loader(), loader(), run_dir=tmp_path / name, runtime=CPU, max_steps=steps, resume=resume)
        return module

    whole = train("long", steps=20)
    train("short", steps=8)
    assert torch.equal(train("short", steps=20, resume=True).net.weight, whole.net.weight)
    assert rows(RunDirectory(tmp_path / "short")) == rows(RunDirectory(tmp_path / "long"))


def test_validation_does_not_touch_training(tmp_path):
    class Random(Line):
        def training_step(self, batch, batch_idx):
            return super().training_step(
                {**batch, "x": batch["x"] + 0.1 * torch.randn_like(batch["x"])}, batch_idx
            )

        def validation_step(self, batch, batch_idx):
            torch.randn(7)
            super().validation_step(batch, batch_idx)

    with_validation, without = Random(), Random()
    fit(with_validation, loader(), loader(), run_dir=tmp_path / "a", runtime=CPU, max_epochs=3)
    fit(without, loader(), run_dir=tmp_path / "b", runtime=CPU, max_epochs=3)
    assert torch.equal(with_validation.net.weight, without.net.weight)


def test_a_nan_loss_stops_before_the_weights_and_says_where(tmp_path):
    module = Line(nan_loss_at=15)
    with pytest.raises(TrainingError) as caught:
        fit(module, loader(), loader(), run_dir=tmp_path / "run", runtime=CPU, max_epochs=8, log_every=1)
    text = str(caught.value)
    assert caught.value.exit_code == 1
    assert "got nan at step 15, epoch 2, batch 3" in text
    assert "time [2001-01-" in text
    assert "index [" in text
    assert "gradient norm was" in text
    assert str(tmp_path / "run" / "checkpoints" / "last.ckpt") in text
    assert module.net.weight.isfinite().all()
    saved = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert saved["global_step"] == 12
    assert all(weight.isfinite().all() for weight in saved["state_dict"].values())


def test_the_samples_named_are_those_of_the_batch(tmp_path):
    with pytest.raises(
        TrainingError, match=r"batch 2 \(time \[2001-01-09, .*\]; index \[8, 9, 10, 11\]\)"
    ) as caught:
        fit(Line(), loader(shuffle=False, spoilt=9), run_dir=tmp_path / "run", runtime=CPU, max_epochs=1)
    assert "the batch itself holds NaN or infinity in batch['x']" in str(caught.value)
    assert "nothing was saved yet" in str(caught.value)


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    """A finite loss can have a gradient that is not: the weights break, and the next checkpoint must not."""
    with pytest.raises(
        TrainingError, match=r"weights must be finite, got NaN or infinity at step 16 in net\.weight"
    ):
        fit(
            Line(nan_gradient_at=15), loader(), run_dir=tmp_path / "run", runtime=CPU, max_epochs=8,
            checkpoint_every=1,
        )  # fmt: skip
    assert load_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["global_step"] == 15


def test_the_next_loss_tells_of_broken_weights(tmp_path):
    with pytest.raises(
        TrainingError, match=r"at step 16.* weights are not finite already, first net\.weight"
    ):
        fit(Line(nan_gradient_at=15), loader(), run_dir=tmp_path / "run", runtime=CPU, max_epochs=8)


def test_the_second_signal_does_not_wait(tmp_path):
    class Impatient(L.Callback):
        def on_train_batch_start(self, trainer, *_):
            if trainer.global_step == 3:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="its present state is not saved") as caught:
        fit(Line(), loader(), run_dir=tmp_path / "run", runtime=CPU, max_epochs=2, callbacks=[Impatient()])
    assert caught.value.exit_code == 130
    assert not (tmp_path / "run/checkpoints/last.ckpt").exists()


def test_a_signal_after_the_last_step_is_not_forgotten(tmp_path):
    class Late(L.Callback):
        def on_train_end(self, *_):
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted, match="its state is saved") as caught:
        fit(Line(), loader(), run_dir=tmp_path / "run", runtime=CPU, max_epochs=1, callbacks=[Late()])
    assert caught.value.exit_code == 143


def test_an_error_of_the_module_stays_what_it_is(tmp_path):
    class Broken(Line):
        def training_step(self, batch, batch_idx):
            raise KeyError("no such variable")

    with pytest.raises(KeyError, match="no such variable"):
        fit(Broken(), loader(), run_dir=tmp_path / "run", runtime=CPU, max_epochs=1)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({}, "max_epochs or max_steps must be given"),
        ({"max_epochs": 0}, "max_epochs must be above 0"),
        ({"max_epochs": 1, "patience": 2}, "patience must go with a validation loader"),
        ({"max_epochs": 1, "mode": "least"}, "mode must be one of"),
        ({"max_epochs": 1, "gradient_clip": -1.0}, "gradient_clip must be above 0"),
        ({"max_epochs": 1, "checkpoint_every": 0}, "checkpoint_every"),
        ({"max_epochs": 1, "train_loader": iter([])}, "training loader must have a length"),
    ],
)
def test_settings_that_cannot_be_used(tmp_path, setting, says):
    with pytest.raises(ConfigError, match=says):
        fit(Line(), **{"train_loader": loader(), "run_dir": tmp_path / "run", "runtime": CPU, **setting})
    assert not (tmp_path / "run").exists()


def test_a_monitor_that_is_not_logged_and_a_run_that_would_be_lost(tmp_path):
    with pytest.raises(ConfigError, match=r"monitor must be .* got 'rmse'; logged: .*val_loss"):
        fit(Line(), loader(), loader(), run_dir=tmp_path / "a", runtime=CPU, max_epochs=1, monitor="rmse")
    fit(Line(), loader(), run_dir=tmp_path / "b", runtime=CPU, max_epochs=1)
    with pytest.raises(ConfigError, match="must be new, or its run resumed"):
        fit(Line(), loader(), run_dir=tmp_path / "b", runtime=CPU, max_epochs=1)


def test_clipping_and_accumulation_are_lightnings(tmp_path):
    one, two = Line(), Line()
    fit(
        one,
        DataLoader(Pairs(), batch_size=8),
        run_dir=tmp_path / "a",
        runtime=CPU,
        max_epochs=1,
        gradient_clip=0.1,
    )
    fit(
        two, DataLoader(Pairs(), batch_size=4), run_dir=tmp_path / "b", runtime=CPU, max_epochs=1,
        gradient_clip=0.1, accumulate=2,
    )  # fmt: skip
    torch.testing.assert_close(one.net.weight, two.net.weight)


def test_clipping_goes_with_mixed_precision(tmp_path):
    """Lightning refuses to clip what an optimiser unscales by itself, in bfloat16 too."""

    class Clipped(Line):
        def configure_optimizers(self):
            return adamw(self, lr=0.1)

    module, runtime = Clipped(), replace(CPU, precision="bf16-mixed")
    fit(module, loader(), run_dir=tmp_path, runtime=runtime, max_epochs=1, gradient_clip=0.1)
    assert not torch.equal(module.net.weight, Clipped().net.weight)


def test_metrics_survive_a_cut_row_and_new_columns(tmp_path):
    from isopleth.train.progress import MetricsFile

    path = tmp_path / "metrics.csv"
    first = MetricsFile(path)
    first.log_metrics({"epoch": 0, "loss": 2.0}, step=0)
    first.log_metrics({"epoch": 0, "val_loss": 3.0}, step=1)
    first.log_metrics({"epoch": 1, "loss": 1.0}, step=2)
    with path.open("a") as file:
        file.write("1,3")
    second = MetricsFile(path)
    second.begin(2)
    second.log_metrics({"epoch": 1, "loss": 1.5}, step=2)
    assert path.read_text() == "epoch,step,loss,val_loss\n0,0,2.0,\n0,1,,3.0\n1,2,1.5,\n"


@pytest.mark.slow  # torch's compiler takes seconds to import
def test_compiling_keeps_the_names():
    class Nets(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList([nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2))])
            self.loss = nn.MSELoss()

    net = Nets()
    before = list(net.state_dict())
    compile_networks(net)
    assert list(net.state_dict()) == before
    compiled = [name for name, part in net.named_modules() if part._compiled_call_impl is not None]
    assert compiled == ["parts.0", "parts.1"]


@pytest.mark.slow  # the compiler takes its time
def test_a_compiled_run_is_the_same_run(tmp_path):
    plain, compiled = Line(), Line()
    fit(plain, loader(), run_dir=tmp_path / "a", runtime=CPU, max_epochs=1)
    runtime = Runtime(accelerator="cpu", seed=3, compile=True, ema=0.5)
    result = fit(compiled, loader(), run_dir=tmp_path / "b", runtime=runtime, max_epochs=1)
    names = load_checkpoint(result.checkpoint)["state_dict"]
    assert list(names) == list(plain.state_dict())
    torch.testing.assert_close(load_checkpoint(result.run.last)["current_model_state"], plain.state_dict())


def test_the_run_directory_may_be_any_path(tmp_path):
    result = fit(Line(), loader(), run_dir=str(tmp_path / "with space é"), runtime=CPU, max_epochs=1)
    assert result.run == RunDirectory(Path(tmp_path / "with space é"))
