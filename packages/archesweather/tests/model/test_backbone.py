"""The network as a whole: symmetry, locality, edges, sizes, precision, memory, compilation."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from archesweather.config import FieldsConfig, ModelConfig, NetworkConfig
from archesweather.model import Backbone
from archesweather.model.backbone import drop_rates
from archesweather.model.layout import plan_layout
from isopleth.errors import ConfigError

RELEASED = {"compat": "geoarches", "window": (6, 4)}
DEEP = FieldsConfig(surface=("t",), upper=("z", "q"), constants=("land",))


def make_paper_config(multiple, **options):
    depths = tuple(multiple * depth for depth in (2, 6, 6, 2))
    lat, lon = np.linspace(-90, 90, 121), np.arange(240) * 1.5
    return ModelConfig(
        fields=FieldsConfig(),
        network=NetworkConfig(depths=depths, **options),
        lat=tuple(lat.tolist()),
        lon=tuple(lon.tolist()),
    )


@pytest.mark.parametrize(("multiple", "millions"), [(1, 45.0), (2, 84.6), (4, 163.8)], ids="SML")
def test_parameters_are_those_of_the_released_code(multiple, millions):
    with torch.device("meta"):
        backbone = Backbone(make_paper_config(multiple, compat="geoarches"))
    count = sum(parameter.numel() for parameter in backbone.parameters())
    assert round(count / 1e6, 1) == millions


def test_the_papers_grid_is_filled_by_whole_windows_poles_included():
    layout = plan_layout(make_paper_config(1))
    assert layout.fine.grid == (8, 60, 120)
    assert layout.inner[0].grid == (8, 30, 60)
    assert layout.shared_row
    assert not layout.fine.partition(shifted=True).padded


@pytest.mark.parametrize("vertical", ["columns", "windows", "none"])
def test_rolling_by_whole_windows_rolls_the_output(
    vertical, model_config, make_backbone, make_states, conditions, lean
):
    config = model_config(25, 32, poles=True, vertical=vertical)
    backbone, states = make_backbone(config), make_states(config)
    out = backbone(states, conditions)
    # A window of the inner stages is 4 tokens of 4 columns.
    backbone.constants.copy_(backbone.constants.roll(16, -1))
    rolled = backbone(states.roll(16, -1), conditions)
    torch.testing.assert_close(rolled, out.roll(16, -1), rtol=0, atol=1e-12)


def test_the_released_network_has_a_seam(model_config, make_backbone, make_states, conditions):
    config = model_config(25, 32, poles=True, fields=DEEP, **RELEASED)
    backbone, states = make_backbone(config), make_states(config)
    backbone.constants.zero_()
    out, rolled = backbone(states, conditions), backbone(states.roll(16, -1), conditions)
    assert (rolled - out.roll(16, -1)).abs().max() > 1e-3


def reach(backbone, states, conditions, rows):
    """Rows of the output that change with some rows of the input."""
    changed = states.clone()
    changed[..., rows, :] += 1.0
    difference = (backbone(changed, conditions) - backbone(states, conditions)).abs()
    return np.flatnonzero(difference.amax((0, 1, 3)).detach().numpy() > 0)


@pytest.mark.parametrize("poles", [True, False])
def test_one_pole_does_not_reach_the_other_in_one_block(
    poles, model_config, make_backbone, make_states, conditions, lean
):
    # One shifted block: the second of the first stage, the others shut.
    config = model_config(49 if poles else 48, 16, poles=poles)
    backbone, states = make_backbone(config), make_states(config)
    shut_all_but_the_first_stage(backbone)
    for pole, far in ((0, -1), (-1, 0)):
        rows = reach(backbone, states, conditions, pole)
        assert pole % len(config.lat) in rows
        assert far % len(config.lat) not in rows
        assert len(rows) < len(config.lat) // 2


def test_in_the_released_network_it_does(model_config, make_backbone, make_states, conditions):
    config = model_config(49, 16, poles=True, fields=DEEP, **RELEASED)
    backbone, states = make_backbone(config), make_states(config)
    shut_all_but_the_first_stage(backbone)
    assert 48 - 2 in reach(backbone, states, conditions, [1, 2])


def shut_all_but_the_first_stage(backbone):
    with torch.no_grad():
        for stage in backbone.stages[1:]:
            stage.modulation.layer.weight.zero_()
            stage.modulation.layer.bias.zero_()


def test_the_poles_are_predicted_not_copied(model_config, make_backbone, make_states, conditions):
    config = model_config(25, 32, poles=True)
    backbone, states = make_backbone(config), make_states(config)
    for weight in backbone.recovery.parameters():  # at the start all cells of a patch are equal
        torch.nn.init.normal_(weight)
    out = backbone(states, conditions)
    assert not torch.equal(out[..., 0, :], out[..., 1, :])
    assert not torch.equal(out[..., -1, :], out[..., -2, :])
    # ... and seen: what stands there matters.
    for pole in (0, -1):
        changed = states.clone()
        changed[..., pole, :] += 1.0
        assert not torch.equal(backbone(changed, conditions), out)


def test_regional_edges_do_not_wrap(model_config, make_backbone, make_states, conditions, lean):
    lat, lon = tuple(np.arange(30, 54.0).tolist()), tuple(np.arange(0, 64.0).tolist())
    config = model_config(lat, lon, depths=(2, 1, 1, 1))
    backbone, states = make_backbone(config), make_states(config)
    shut_all_but_the_first_stage(backbone)
    changed = states.clone()
    changed[..., 0] += 1.0
    difference = (backbone(changed, conditions) - backbone(states, conditions)).abs().amax((0, 1, 2))
    assert difference[0] > 0
    assert difference[32:].max() == 0


def test_what_is_padded_never_counts(model_config, make_backbone, make_states, conditions, lean, monkeypatch):
    config = model_config(20, 24, window=(4, 5))
    backbone, states = make_backbone(config), make_states(config)
    assert all(partition.padded for partition in backbone.stages[0].partitions)
    expected = backbone(states, conditions)
    for stage in backbone.stages:
        for partition in stage.partitions:
            # Places without a token read another one than before.
            empty = torch.ones(partition.index.numel(), dtype=torch.bool)
            empty[partition.place] = False
            partition.index.view(-1)[empty] = len(partition.place) - 1
    torch.testing.assert_close(backbone(states, conditions), expected, rtol=0, atol=0)


FEW = st.integers(0, 2)


@settings(max_examples=25, deadline=None)
@given(
    lat=st.integers(2, 23),
    lon=st.integers(3, 23),
    poles=st.booleans(),
    surface=FEW,
    upper=FEW,
    levels=st.integers(1, 5),
    constants=FEW,
    patch=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
    window=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    vertical=st.sampled_from(["columns", "windows", "none"]),
)
def test_any_grid_and_variables_give_a_state(
    lat, lon, poles, surface, upper, levels, constants, patch, window, vertical
):
    from isopleth.grid import Grid

    if not surface + upper:
        return
    fields = FieldsConfig(
        surface=tuple(f"s{i}" for i in range(surface)),
        upper=tuple(f"u{i}" for i in range(upper)),
        levels=tuple(range(1, levels + 1)),
        constants=tuple(f"c{i}" for i in range(constants)),
    )
    grid = Grid.regular(lat, lon, poles=poles)
    network = NetworkConfig(
        dim=12,
        depths=(2, 1, 1, 1),
        heads=(2, 2, 2, 2),
        column_heads=2,
        patch=patch,
        window=window,
        vertical=vertical,
        condition_dim=8,
    )
    config = ModelConfig(
        fields=fields, network=network, lat=tuple(grid.lat.tolist()), lon=tuple(grid.lon.tolist())
    )
    backbone = Backbone(config)
    states = torch.randn(2, 2, len(fields.channels), lat, lon)
    out = backbone(states, torch.ones(2, 2))
    assert out.shape == states[:, 0].shape
    assert torch.isfinite(out).all()


def test_levels_are_decoded_where_they_were_encoded(model_config, make_backbone, make_states, conditions):
    """Without any exchange between levels, a level reaches only those of its own patch."""
    fields = FieldsConfig(surface=("t",), upper=("z",), levels=(100, 200, 300, 400, 500), constants=())
    config = model_config(fields=fields, vertical="none", column_mixing=False)
    backbone, states = make_backbone(config), make_states(config)
    out = backbone(states, conditions)
    patches = [(0,), (1,), (2, 3), (4, 5)]  # the surface; 100 alone, after padding above; then pairs
    for patch in patches:
        changed = states.clone()
        changed[:, :, patch[-1]] += 1.0
        moved = (backbone(changed, conditions) - out).abs().amax((0, 2, 3)) > 0
        assert tuple(np.flatnonzero(moved.numpy())) == patch


def test_gradients_are_finite_and_reach_every_parameter(
    model_config, make_backbone, make_states, conditions, lean
):
    config = model_config(25, 32, poles=True, drop_path=0.0)
    backbone = make_backbone(config).train()
    backbone(make_states(config), conditions).square().sum().backward()
    for name, parameter in backbone.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_constant_fields_give_a_finite_state(model_config, conditions):
    config = model_config()
    backbone = Backbone(config).double()
    states = torch.full((1, 2, 7, 24, 32), 3.0, dtype=torch.float64)
    assert torch.isfinite(backbone(states, conditions)).all()


def test_nan_is_not_hidden(model_config, make_backbone, make_states, conditions, lean):
    config = model_config()
    backbone, states = make_backbone(config), make_states(config)
    states[0, 0, 0, 3, 5] = torch.nan
    assert torch.isnan(backbone(states, conditions)[0, 0, 3, 5])


def test_static_maps_count_and_are_saved(model_config, make_backbone, make_states, conditions):
    config = model_config()
    backbone, states = make_backbone(config), make_states(config)
    out = backbone(states, conditions)
    backbone.set_constants(torch.ones(1, 24, 32))
    assert not torch.equal(backbone(states, conditions), out)
    assert "constants" in backbone.state_dict()
    with pytest.raises(ConfigError, match=r"shape \(1, 24, 32\), got \(2, 24, 32\)"):
        backbone.set_constants(torch.ones(2, 24, 32))


def test_without_constants_their_buffer_is_empty(model_config):
    fields = FieldsConfig(surface=("t",), upper=(), levels=(), constants=())
    assert Backbone(model_config(fields=fields)).constants.numel() == 0


def test_other_scalars_and_states_come_in(model_config, make_backbone, make_states):
    config = model_config()
    backbone = make_backbone(config, states=4, conditions=("month", "hour", "flow_time"))
    states = make_states(config, states=4)
    one, other = (
        backbone(states, torch.tensor([[1.0, 6.0, time]], dtype=torch.float64)) for time in (10.0, 500.0)
    )
    assert one.shape == (1, 7, 24, 32)
    assert not torch.equal(one, other)


def test_samples_of_a_batch_do_not_meet(model_config, make_backbone, make_states, lean):
    config = model_config()
    backbone, states = make_backbone(config), make_states(config, batch=3)
    conditions = torch.tensor([[1.0, 0.0], [4.0, 6.0], [9.0, 18.0]], dtype=torch.float64)
    together = backbone(states, conditions)
    for sample in range(3):
        alone = backbone(states[sample : sample + 1], conditions[sample : sample + 1])
        torch.testing.assert_close(together[sample : sample + 1], alone, rtol=0, atol=1e-12)


def test_wrong_shapes_are_refused(model_config):
    backbone = Backbone(model_config())
    with pytest.raises(ConfigError, match=r"expected \(batch, 2, 7, 24, 32\), got \(1, 2, 7, 24, 31\)"):
        backbone(torch.zeros(1, 2, 7, 24, 31), torch.zeros(1, 2))
    with pytest.raises(ConfigError, match=r"expected \(1, 2\), got \(1, 3\)"):
        backbone(torch.zeros(1, 2, 7, 24, 32), torch.zeros(1, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compat": "geoarches"}, "levels must be 12 or 13"),
        ({"dim": 10, "patch": (3, 2, 2), "column_heads": 1}, "multiple of patch"),
    ],
)
def test_impossible_networks_are_refused(options, message, model_config):
    with pytest.raises(ConfigError, match=message):
        Backbone(model_config(**options))


def test_checkpointed_stages_change_nothing_but_memory(
    model_config, make_backbone, make_states, conditions, lean
):
    config = model_config(drop_path=0.5)
    backbone, states = make_backbone(config).train(), make_states(config)
    grads = []
    for which in ((), (1, 2, 3, 4)):
        backbone.checkpoint_stages(which)
        torch.manual_seed(3)
        backbone.zero_grad()
        backbone(states, conditions).square().sum().backward()
        grads.append([parameter.grad.clone() for parameter in backbone.parameters()])
    for plain, checkpointed in zip(*grads, strict=True):
        torch.testing.assert_close(checkpointed, plain, rtol=0, atol=0)
    with pytest.raises(ConfigError, match="among 1, 2, 3, 4"):
        backbone.checkpoint_stages((5,))


def test_stochastic_depth_rises_inward_on_both_arms():
    rates = drop_rates((2, 6, 6, 2), 0.2)
    inward = np.linspace(0, 0.2, 8)
    assert rates[0] == rates[3] == inward[:2].tolist()
    assert rates[1] == rates[2] == inward[2:].tolist()


def test_stochastic_depth_keeps_the_mean(model_config):
    from archesweather.model.conditioning import drop_gate

    torch.manual_seed(0)
    gates = drop_gate(torch.ones(20_000, 1), 0.25, training=True)
    assert gates.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert gates.mean().item() == pytest.approx(1.0, abs=0.02)
    assert drop_gate(gates, 0.25, training=False) is gates


def test_bfloat16_is_near_float32(model_config, make_backbone, make_states, conditions):
    config = model_config()
    backbone, states = make_backbone(config).float(), make_states(config, batch=2).float()
    conditions = conditions.float().expand(2, -1)
    exact = backbone(states, conditions)
    with torch.autocast("cpu", torch.bfloat16):
        rough = backbone(states, conditions)
    # 8 bits of mantissa through eight blocks.
    assert (rough.float() - exact).norm() < 0.03 * exact.norm()


def check_compiled(config, states, conditions, open_gates, backend):
    torch.manual_seed(0)
    backbone = Backbone(config).eval()
    open_gates(backbone)
    states, conditions = states.float(), conditions.float()
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own
        out = torch.compile(backbone, fullgraph=True, backend=backend)(states, conditions)
        out.square().sum().backward()
    grads = [parameter.grad.clone() for parameter in backbone.parameters()]
    backbone.zero_grad()
    expected = backbone(states, conditions)
    expected.square().sum().backward()
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    for ours, parameter in zip(grads, backbone.parameters(), strict=True):
        torch.testing.assert_close(ours, parameter.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("vertical", ["columns", "windows"])
def test_it_is_one_graph_to_the_compiler(vertical, model_config, make_states, conditions, open_gates, lean):
    config = model_config(13, 16, poles=True, depths=(1, 2, 1, 1), vertical=vertical)
    check_compiled(config, make_states(config), conditions, open_gates, "aot_eager")


@pytest.mark.slow
def test_compiled_it_gives_the_same_numbers(model_config, make_states, conditions, open_gates, monkeypatch):
    monkeypatch.setattr("archesweather.model.blocks.is_lean", lambda x: True)
    config = model_config(13, 16, poles=True, depths=(1, 1, 1, 1))
    check_compiled(config, make_states(config), conditions, open_gates, "inductor")
