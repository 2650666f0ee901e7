"""Adapters are saved, loaded, switched, deleted and merged as peft's own are."""

import json

import pytest
import timm
import torch
import transformers as hf
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file

from block_expansion.tuner import PEFT_TYPE, BlockExpansionConfig, ExpandedBlock, register

# peft 0.21.2 asks transformers 5.23 by a name that transformers will take away.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.fixture
def trained(vit, images, train_a_little):
    model = get_peft_model(vit, BlockExpansionConfig(num_expansions=2, modules_to_save=["head"])).eval()
    train_a_little(model, images)
    return model


def test_what_is_saved_as_one_name_loads_as_another(trained, fresh, images, tmp_path, compute):
    expected = compute(trained, images)
    trained.save_pretrained(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]
    names = load_file(tmp_path / "adapter_model.safetensors")
    assert len(names) == 2 * 12 + 2
    assert not any("default" in name for name in names)
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    assert settings["peft_type"] == PEFT_TYPE
    assert settings["after_blocks"] == [1, 3]
    assert settings["depth"] == 4
    loaded = PeftModel.from_pretrained(fresh(), tmp_path, adapter_name="other").eval()
    assert torch.equal(compute(loaded, images), expected)
    loaded.load_adapter(tmp_path, adapter_name="third")
    loaded.set_adapter("third")
    assert torch.equal(compute(loaded, images), expected)


@pytest.mark.parametrize("depth", [2, 6])
def test_an_adapter_for_another_depth_is_one_line_and_changes_nothing(trained, fresh, tmp_path, depth):
    trained.save_pretrained(tmp_path)
    other = fresh(depth=depth)
    with pytest.raises(ValueError, match=f"as deep as its own, 4 blocks, got {depth}") as error:
        PeftModel.from_pretrained(other, tmp_path)
    assert "\n" not in str(error.value)
    assert not any(isinstance(module, ExpandedBlock) for module in other.modules())


def test_a_loaded_adapter_is_frozen_unless_it_shall_learn(trained, fresh, tmp_path):
    trained.save_pretrained(tmp_path)
    frozen = PeftModel.from_pretrained(fresh(), tmp_path)
    assert not any(p.requires_grad for p in frozen.parameters())
    learning = PeftModel.from_pretrained(fresh(), tmp_path, is_trainable=True)
    wanted = {name for name, p in trained.named_parameters() if p.requires_grad}
    assert {name for name, p in learning.named_parameters() if p.requires_grad} == wanted


def test_adapters_live_side_by_side(trained, fresh, images, compute, train_a_little):
    first = compute(trained, images)
    trained.add_adapter("second", BlockExpansionConfig(after_blocks=[0, 1], modules_to_save=["head"]))
    assert torch.equal(compute(trained, images), first)
    trained.set_adapter("second")
    assert torch.equal(compute(trained, images), compute(fresh(), images))
    assert all("second" in name for name, p in trained.named_parameters() if p.requires_grad)
    train_a_little(trained, images)
    second = compute(trained, images)
    assert not torch.equal(second, first)
    trained.set_adapter("default")
    assert torch.equal(compute(trained, images), first)
    with pytest.warns(UserWarning, match="Setting active adapter to second"):
        trained.delete_adapter("default")
    trained.set_adapter("second")
    assert torch.equal(compute(trained, images), second)
    assert torch.equal(compute(trained.merge_and_unload(), images), second)


def test_an_adapter_is_loaded_without_memory_for_its_start(trained, fresh, images, tmp_path, compute):
    """peft's `low_cpu_mem_usage` makes the copies on the meta device, where nothing can be tried out."""
    trained.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(fresh(), tmp_path, low_cpu_mem_usage=True).eval()
    assert torch.equal(compute(loaded, images), compute(trained, images))


def test_two_active_adapters_follow_each_other(vit, images, compute, train_a_little):
    model = get_peft_model(vit, BlockExpansionConfig(num_expansions=2)).eval()
    train_a_little(model, images)
    model.add_adapter("second", BlockExpansionConfig(after_blocks=[1]))
    model.set_adapter("second")
    train_a_little(model, images)
    model.base_model.set_adapter(["default", "second"])
    expected = compute(model, images)
    assert len(model.base_model.model.blocks[1].active_copies()) == 2
    merged = model.merge_and_unload()
    assert len(merged.blocks) == 4 + 3
    assert torch.equal(compute(merged, images), expected)


def test_merged_weights_load_into_a_deeper_model_of_timm(trained, images, fresh, compute):
    expected = compute(trained, images)
    merged = trained.merge_and_unload(safe_merge=True)
    deeper = fresh(depth=6)
    deeper.load_state_dict(merged.state_dict(), strict=True)
    assert torch.equal(compute(deeper, images), expected)


def test_merged_transformers_models_are_saved_with_their_new_depth(images, tmp_path, compute, train_a_little):
    small = hf.ViTConfig(
        hidden_size=24,
        num_attention_heads=3,
        num_hidden_layers=4,
        intermediate_size=48,
        image_size=16,
        patch_size=4,
    )
    model = get_peft_model(hf.ViTModel(small), BlockExpansionConfig(num_expansions=2)).eval()
    train_a_little(model, images)
    merged = model.merge_and_unload()
    merged.save_pretrained(tmp_path)
    assert torch.equal(compute(hf.ViTModel.from_pretrained(tmp_path), images), compute(merged, images))


def test_only_the_vision_tower_of_clip_is_expanded():
    tiny = {"hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": 4, "intermediate_size": 48}
    config = hf.CLIPConfig(
        text_config={**tiny, "vocab_size": 9}, vision_config={**tiny, "image_size": 16, "patch_size": 4}
    )
    model = get_peft_model(hf.CLIPModel(config), BlockExpansionConfig(num_expansions=2))
    paths = [name for name, module in model.named_modules() if isinstance(module, ExpandedBlock)]
    assert len(paths) == 2
    assert all("vision_model" in path for path in paths)
    merged = model.merge_and_unload()
    assert merged.config.vision_config.num_hidden_layers == 6
    assert merged.config.text_config.num_hidden_layers == 4


def test_masks_reach_the_copies(vit, images, train_a_little):
    model = get_peft_model(vit, BlockExpansionConfig(num_expansions=2)).eval()
    train_a_little(model, images)
    tokens = torch.randn(1, 5, 24)
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    block = model.base_model.model.blocks[1]
    masked = block(tokens, attn_mask=mask)
    assert torch.equal(
        masked[:, :2], block(tokens[:, :2], attn_mask=mask[:2, :2]).expand_as(masked[:, :2])
    ) or (torch.allclose(masked[:, :2], block(tokens[:, :2], attn_mask=mask[:2, :2]), atol=1e-6))
    assert not torch.allclose(masked[:, :2], block(tokens)[:, :2], atol=1e-3)


def test_registering_again_does_no_harm(vit):
    register()
    get_peft_model(vit, BlockExpansionConfig(num_expansions=2))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_expansions": 3}, "num_expansions must divide the 4 blocks, got 3; take one of 1, 2, 4"),
        ({"num_expansions": 8}, "num_expansions must be at most the 4 blocks, got 8"),
        ({"after_blocks": [4]}, "after_blocks must be from 0 to 3"),
        ({"depth": 12, "after_blocks": [3]}, "as deep as its own, 12 blocks, got 4"),
        ({"blocks": "norm"}, "must have a list of transformer blocks"),
        ({"zero_modules": ["attn.nothing"]}, "must have a list of transformer blocks"),
        ({"zero_modules": ["attn.proj"]}, "a copied block must be the identity once attn.proj are zero"),
    ],
)
def test_what_cannot_be_expanded_is_one_clear_line_and_changes_nothing(vit, options, said):
    with pytest.raises(ValueError, match=said.replace("(", r"\(")) as error:
        get_peft_model(vit, BlockExpansionConfig(**options))
    assert "\n" not in str(error.value)
    assert not any(isinstance(module, ExpandedBlock) for module in vit.modules())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_expansions": 0}, "num_expansions must be at least 1, got 0"),
        ({"position": "middle"}, "position must be one of interleaved, last, first, got 'middle'"),
        ({"init": "zeros"}, "init must be one of"),
        ({"train": "half"}, "train must be one of"),
        ({"after_blocks": [1, 1]}, "after_blocks must be different block numbers from 0"),
        ({"after_blocks": []}, "after_blocks must be different block numbers from 0"),
        ({"layer_scale": 0.0}, "layer_scale must be above 0 or None"),
    ],
)
def test_settings_are_checked_when_they_are_made(options, said):
    with pytest.raises(ValueError, match=said):
        BlockExpansionConfig(**options)


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224", "vit_base_patch16_rpn_224"])
def test_unsupported_architectures_are_refused(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    if "rpn" in name:
        model = model.to_empty(device="cpu")
        torch.nn.init.ones_(model.blocks[0].norm1.bias)
    with pytest.raises(
        ValueError, match=r"must (have a list of transformer blocks|be the identity|name one list)"
    ):
        get_peft_model(model, BlockExpansionConfig(after_blocks=[0]))


def test_an_adapters_name_is_not_that_of_a_part(vit):
    with pytest.raises(ValueError, match="must not be that of a part of a block, got 'attn'"):
        get_peft_model(vit, BlockExpansionConfig(num_expansions=2), adapter_name="attn")


def test_a_copy_is_merged_as_a_block_and_never_into_weights(trained, images):
    with pytest.raises(ValueError, match="merge_and_unload"):
        trained.merge_adapter()
    with torch.no_grad():
        next(trained.base_model.model.blocks[1].block_expansion_blocks["default"].parameters()).fill_(
            float("nan")
        )
    with pytest.raises(ValueError, match="weights to merge must be finite"):
        trained.merge_and_unload(safe_merge=True)


def test_another_method_is_refused_beside_it(trained):
    with pytest.raises(ValueError, match="different peft types"):
        trained.add_adapter("another", LoraConfig(target_modules=["qkv"]))
