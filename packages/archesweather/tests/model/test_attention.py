"""Attention against loops in float64, and the lean operators against the plain modules."""

import numpy as np
import pytest
import torch

from archesweather.model.attention import ColumnAttention, EarthBias, WindowAttention
from archesweather.model.blocks import Block
from archesweather.model.layout import plan_layout
from archesweather.model.lean import groups, is_lean
from archesweather.model.windows import Partition, earth_position_index


def softmax(x):
    weights = np.exp(x - x.max())
    return weights / weights.sum()


def naive_windows(layer, partition, x):
    """One token after another: its window's tokens, its bias by place, its mask."""
    heads, width = layer.heads, x.shape[-1]
    size = width // heads
    qkv = (x @ layer.qkv.weight.T + layer.qkv.bias).detach().numpy().reshape(len(x), 3, heads, size)
    table, number = layer.bias.table.detach().numpy(), earth_position_index(partition.window)
    index = partition.index.numpy().reshape(partition.columns, partition.kinds, partition.tokens)
    place = partition.place.numpy().tolist()
    seen = np.zeros((len(x), width))
    for token, at in enumerate(place):
        column, kind, i = np.unravel_index(at, index.shape)
        mask = (
            np.zeros(partition.tokens)
            if partition.mask is None
            else partition.mask.numpy()[column % len(partition.mask), kind, 0, i]
        )
        for head in range(heads):
            logits = np.array(
                [
                    qkv[token, 0, head] @ qkv[key, 1, head] / np.sqrt(size)
                    + table[number[i, j], kind, head]
                    + mask[j]
                    for j, key in enumerate(index[column, kind])
                ]
            )
            values = np.stack([qkv[key, 2, head] for key in index[column, kind]])
            seen[token, head * size : (head + 1) * size] = softmax(logits) @ values
    return torch.tensor(seen) @ layer.out.weight.T + layer.out.bias


@pytest.mark.parametrize(
    ("grid", "window", "shift", "periodic"),
    [
        ((1, 6, 8), (1, 3, 4), (0, 1, 2), True),
        ((2, 5, 7), (1, 3, 4), (0, 1, 2), True),
        ((3, 4, 5), (2, 2, 3), (1, 1, 1), False),
    ],
    ids=["whole", "padded", "levels"],
)
def test_window_attention_is_that_of_loops(grid, window, shift, periodic):
    torch.manual_seed(0)
    partition = Partition(grid, window, shift, periodic=periodic)
    layer = WindowAttention(8, 2, partition).double()
    torch.nn.init.normal_(layer.bias.table)
    x = torch.randn(int(np.prod(grid)), 8, dtype=torch.float64)
    torch.testing.assert_close(layer(x[None], partition)[0], naive_windows(layer, partition, x))


def test_earth_bias_is_the_table_by_place():
    partition = Partition((2, 6, 8), (1, 3, 4), (0, 0, 0), periodic=True)
    bias = EarthBias(partition, heads=3)
    number = earth_position_index((1, 3, 4))
    gathered = bias(None).detach()
    assert gathered.shape == (1, 4, 3, 12, 12)
    for kind, head, i, j in [(0, 0, 0, 0), (3, 2, 5, 11), (1, 1, 11, 5)]:
        assert gathered[0, kind, head, i, j] == bias.table[number[i, j], kind, head]


def test_column_attention_is_that_of_loops():
    torch.manual_seed(0)
    levels, width, heads = 3, 8, 2
    layer = ColumnAttention(width, heads, levels).double()
    x = torch.randn(2, 4 * levels, width, dtype=torch.float64)
    columns = (x.view(-1, levels, width) + layer.level).detach()
    qkv = (columns @ layer.qkv.weight.T).detach().numpy().reshape(-1, levels, 3, heads, 4)
    seen = np.zeros((len(columns), levels, width))
    for column, level, head in np.ndindex(len(columns), levels, heads):
        logits = qkv[column, :, 1, head] @ qkv[column, level, 0, head] / 2.0
        seen[column, level, head * 4 : head * 4 + 4] = softmax(logits) @ qkv[column, :, 2, head]
    expected = torch.tensor(seen) @ layer.out.weight.T + layer.out.bias
    torch.testing.assert_close(layer(x), expected.view(x.shape))


CASES = {
    "columns": {},
    "levels": {"vertical": "windows"},
    "neither": {"vertical": "none", "mlp": "plain"},
    "padded": {"window": (4, 5)},
    "released": {"compat": "geoarches"},
}


@pytest.mark.parametrize("chunk_bytes", [1 << 15, 1 << 22], ids=["many chunks", "one chunk"])
@pytest.mark.parametrize("case", CASES)
def test_lean_operators_give_the_plain_results_and_gradients(
    case, chunk_bytes, model_config, make_backbone, make_states, monkeypatch
):
    from archesweather.config import FieldsConfig

    monkeypatch.setattr(groups, "_CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr("archesweather.model.lean.mlp._CHUNK_BYTES", chunk_bytes)
    fields = FieldsConfig(surface=("t",), upper=("z",), constants=())
    config = model_config(25, 32, poles=True, fields=fields, **CASES[case])
    backbone, states = make_backbone(config), make_states(config, batch=2).requires_grad_()
    conditions = torch.tensor([[1.0, 0.0], [7.0, 12.0]], dtype=torch.float64)
    results = []
    for lean in (False, True):
        monkeypatch.setattr("archesweather.model.blocks.is_lean", lambda x, lean=lean: lean)
        out = backbone(states, conditions)
        weight = torch.arange(out.numel(), dtype=out.dtype).cos().view_as(out)
        results.append((out, *torch.autograd.grad((out * weight).sum(), [states, *backbone.parameters()])))
    for plain, lean in zip(*results, strict=True):
        torch.testing.assert_close(lean, plain, rtol=1e-9, atol=1e-10 * plain.abs().max().item())


def test_lean_operators_pass_the_checks_of_custom_operators(model_config):
    stage = plan_layout(model_config(12, 16)).fine
    partition = stage.partition(shifted=True)
    layer = WindowAttention(8, 2, partition)
    x = torch.randn(1, len(partition.place), 8, requires_grad=True)
    scale, shift = torch.ones(1, 8), torch.zeros(1, 8)
    linear = (layer.qkv.weight, layer.qkv.bias, layer.out.weight, layer.out.bias)
    bias = layer.bias(partition.mask).detach()
    window = (x, scale, shift, *linear, bias, partition.index, partition.place, 2)
    ops = torch.ops.archesweather
    torch.library.opcheck(ops.window_branch, (*window, True), test_utils=("test_schema", "test_faketensor"))
    columns = ColumnAttention(8, 2, stage.grid[0])
    weights = (columns.level, columns.qkv.weight, columns.out.weight, columns.out.bias)
    torch.library.opcheck(
        ops.column_branch,
        (x, x.detach(), *weights, scale, scale, 2, True),
        test_utils=("test_schema", "test_faketensor"),
    )


def test_a_block_is_the_identity_at_the_start(model_config, lean):
    stage = plan_layout(model_config()).fine
    block = Block(stage, number=1, drop_rate=0.0)
    partition = stage.partition(shifted=True)
    x = torch.randn(2, len(partition.place), stage.width)
    modulation = tuple(torch.zeros(2, stage.width) for _ in range(6))
    torch.testing.assert_close(block(x, modulation, partition), x, rtol=0, atol=0)


def test_lean_operators_are_for_large_exact_tokens_on_a_cpu():
    large = torch.zeros(1, 1024, 64)
    assert is_lean(large)
    assert not is_lean(large[:, :8])
    assert not is_lean(large.bfloat16())
    assert not is_lean(large.to("meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_lean(large)
