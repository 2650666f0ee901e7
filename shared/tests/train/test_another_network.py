"""A run that is to be resumed with another network is refused in one line, and keeps its config."""

import lightning.pytorch as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from isopleth.errors import ConfigError
from isopleth.train import Runtime, fit

CPU = Runtime(accelerator="cpu")


class Regression(L.LightningModule):
    def __init__(self, *, width: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, width), nn.Linear(width, 1))
        self.groups = groups

    def training_step(self, batch, _batch_index):
        return self.net(batch).square().mean()

    def configure_optimizers(self):
        parameters = list(self.parameters())
        return torch.optim.SGD([{"params": parameters[i :: self.groups]} for i in range(self.groups)], lr=0.1)


@pytest.mark.parametrize("other", [{"width": 3}, {"groups": 2}], ids=["network", "optimiser"])
def test_another_network_or_optimiser_is_refused(tmp_path, other):
    def train(module, *, epochs, **options):
        loader = DataLoader(torch.ones(8, 1), batch_size=4)
        config = {"epochs": epochs}
        fit(module, loader, run_dir=tmp_path, runtime=CPU, max_epochs=epochs, config=config, **options)

    train(Regression(), epochs=1)
    with pytest.raises(ConfigError, match="must go on with the network and optimiser") as caught:
        train(Regression(**other), epochs=2, resume=True)
    assert "\n" not in str(caught.value.what)
    assert (tmp_path / "config.yaml").read_text() == "epochs: 1\n"
    train(Regression(), epochs=3, resume=True)
    assert (tmp_path / "config.yaml").read_text() == "epochs: 3\n"
