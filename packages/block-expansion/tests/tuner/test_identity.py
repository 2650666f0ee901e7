"""An expanded network computes what the original does, and learns only in its copies."""

import copy

import pytest
import torch
from peft import get_peft_model

from block_expansion.tuner import BlockExpansionConfig, ExpandedBlock, find_blocks

# peft 0.21.2 asks transformers 5.23 by a name that transformers will take away.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def expand(network, **options):
    return get_peft_model(network, BlockExpansionConfig(**{"num_expansions": 2, **options}))


def copies_of(model):
    return [
        block
        for module in model.modules()
        if isinstance(module, ExpandedBlock)
        for block in module.block_expansion_blocks.values()
    ]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_copy_is_the_identity_whatever_is_dropped_elsewhere(network, images, training, count, compute):
    model = expand(network, num_expansions=count).train(training)
    differences = []
    for module in model.modules():
        if isinstance(module, ExpandedBlock):
            inner = []
            module.base_layer.register_forward_hook(lambda _m, _i, out, inner=inner: inner.append(out))
            module.register_forward_hook(
                lambda _m, _i, out, inner=inner: differences.append((out - inner[-1]).abs().max().item())
            )
    compute(model, images)
    assert differences == [0.0] * count


@pytest.mark.parametrize("count", [1, 2, 4])
def test_an_expanded_network_equals_the_original_bit_for_bit(network, images, count, compute):
    expected = compute(network, images)
    model = expand(network, num_expansions=count).eval()
    assert (compute(model, images) - expected).abs().max().item() == 0.0


def test_only_copies_learn_and_at_first_only_in_what_is_zero(network, images, compute):
    model = expand(network).eval()
    ends = find_blocks(network).layout.zero_modules
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    assert trainable == {id(p) for block in copies_of(model) for p in block.parameters()}

    def moving(block):
        return {name for name, p in block.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}

    target = torch.randn(compute(model, images).shape, generator=torch.Generator().manual_seed(2))
    (compute(model, images) * target).sum().backward()
    for block in copies_of(model):
        assert moving(block) == {name for name, _ in block.named_parameters() if name.startswith(ends)}
    with torch.no_grad():
        for block in copies_of(model):
            for parameter in block.parameters():
                parameter -= 0.1 * (parameter.grad if parameter.grad is not None else 0)
    model.zero_grad()
    (compute(model, images) * target).sum().backward()
    for block in copies_of(model):
        # A key's bias moves no attention weight: its gradient is zero but for rounding, or absent.
        still = {name for name, _ in block.named_parameters()} - moving(block)
        assert all("k_proj.bias" in name for name in still), still


def test_disabled_after_training_it_is_the_original(network, images, compute, train_a_little):
    expected = compute(network, images)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    model = expand(network).eval()
    train_a_little(model, images)
    changed = compute(model, images)
    assert not torch.equal(changed, expected)
    with model.disable_adapter():
        assert torch.equal(compute(model, images), expected)
    assert torch.equal(compute(model, images), changed)
    restored = model.unload()
    assert torch.equal(compute(restored, images), expected)
    assert dict.fromkeys(weights, True) == {
        name: torch.equal(value, weights[name]) for name, value in restored.state_dict().items()
    }


def test_merged_it_is_a_plain_deeper_network_with_the_same_output(network, images, compute, train_a_little):
    model = expand(network).eval()
    train_a_little(model, images)
    expected = compute(model, images)
    merged = model.merge_and_unload()
    assert not any(isinstance(module, ExpandedBlock) for module in merged.modules())
    assert len(find_blocks(merged).modules) == 6
    assert torch.equal(compute(merged, images), expected)


@pytest.mark.parametrize("scale", [1e-5, 0.3])
def test_layer_scales_are_reset_in_copies_only(fresh, scale):
    model = expand(fresh(init_values=scale))
    assert all((block.ls1.gamma == 1).all() and (block.ls2.gamma == 1).all() for block in copies_of(model))
    assert (model.base_model.model.blocks[0].ls1.gamma == scale).all()
    kept = expand(fresh(init_values=scale), layer_scale=None)
    assert all((block.ls1.gamma == scale).all() for block in copies_of(kept))


def test_copies_keep_the_blocks_other_weights_unless_drawn_anew(vit):
    norm = vit.blocks[1].attn.qkv.weight.clone()
    assert torch.equal(copies_of(expand(copy.deepcopy(vit)))[0].attn.qkv.weight, norm)
    drawn = copies_of(expand(vit, init="random"))[0]
    assert not torch.equal(drawn.attn.qkv.weight, norm)
    assert not drawn.attn.proj.weight.any()


def test_a_copy_has_its_blocks_type(vit, images, compute):
    model = expand(vit.to(torch.bfloat16))
    assert {p.dtype for block in copies_of(model) for p in block.parameters()} == {torch.bfloat16}
    assert compute(model, images.to(torch.bfloat16)).dtype == torch.bfloat16


def test_only_the_zeroed_maps_learn_if_asked(vit, images):
    model = expand(vit, train="zero_linears")
    names = {n for b in copies_of(model) for n, p in b.named_parameters() if p.requires_grad}
    assert names == {f"{m}.{part}" for m in ("attn.proj", "mlp.fc2") for part in ("weight", "bias")}
    with model.disable_adapter():
        pass
    assert {n for b in copies_of(model) for n, p in b.named_parameters() if p.requires_grad} == names
