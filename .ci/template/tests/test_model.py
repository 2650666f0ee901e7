import numpy as np
import pytest
import torch

from isopleth.data import Normaliser
from sample_tool.config import ModelConfig
from sample_tool.model import Network


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Network(ModelConfig(channels=("a", "b")), Normaliser(("a", "b"), [1.0, 2.0], [3.0, 4.0])).eval()


def randomise(network):
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()


def test_untrained_it_is_persistence_to_the_bit(network):
    frame = torch.randn(3, 2, 8, 16)
    assert torch.equal(network(frame), frame)


def test_a_roll_in_longitude_rolls_the_forecast(network):
    randomise(network)
    frame = torch.randn(1, 2, 8, 16)
    rolled = network(frame.roll(5, dims=-1))
    torch.testing.assert_close(rolled, network(frame).roll(5, dims=-1))


def test_a_region_has_edges(network):
    randomise(network)
    frame = torch.randn(1, 2, 8, 16)
    changed = frame.clone()
    changed[..., -1] += 1
    west = [network(each, periodic=False)[..., 0] for each in (frame, changed)]
    assert torch.equal(*west)
    assert not torch.equal(network(frame)[..., 0], network(changed)[..., 0])


def test_a_saved_network_comes_back_to_the_bit(network, tmp_path):
    randomise(network)
    network.save_pretrained(tmp_path)
    again = Network.from_pretrained(tmp_path)
    frame = torch.randn(1, 2, 8, 16)
    assert torch.equal(again(frame), network(frame))
    np.testing.assert_array_equal(again.normaliser.normaliser.std, [3.0, 4.0])
