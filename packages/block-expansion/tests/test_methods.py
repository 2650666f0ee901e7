"""What each method trains, counted exactly, and a fused projection taken apart."""

import pytest
import torch
from torch import nn

from block_expansion.config import BackboneConfig, MethodConfig
from block_expansion.methods import apply_method
from block_expansion.model import SplitProjection, build_classifier, count_parameters
from isopleth.errors import ConfigError

HEAD = 768 * 100 + 100
BLOCK = 7_087_872  # of ViT-B/16


def count(method: MethodConfig) -> int:
    with torch.device("meta"):
        backbone = BackboneConfig(name="vit_base_patch16_224", pretrained=False)
        return count_parameters(apply_method(build_classifier(backbone, 100), method))


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        (MethodConfig(kind="full"), 85_875_556),
        (MethodConfig(kind="linear"), HEAD),
        (MethodConfig(kind="top", blocks=3), 3 * BLOCK + HEAD),
        (MethodConfig(kind="expansion", expansions=1), 7_164_772),
        (MethodConfig(kind="expansion", expansions=2), 14_252_644),
        (MethodConfig(kind="expansion", expansions=3), 21_340_516),
        (MethodConfig(kind="expansion", expansions=4), 28_428_388),
    ],
    ids=lambda value: getattr(value, "label", None),
)
def test_parameters_of_vit_b_are_the_published_counts(method, parameters):
    assert count(method) == parameters


@pytest.mark.parametrize(("rank", "published"), [(4, 301_256), (8, 448_712), (16, 743_624)])
@pytest.mark.parametrize("targets", ["qv", "qkv"])
def test_loras_published_counts_have_the_head_twice(rank, published, targets):
    """The released runs left the original classifier trainable beside peft's copy of it."""
    found = count(MethodConfig(kind="lora", rank=rank, targets=targets))
    assert found == 12 * 2 * rank * 2 * 768 + HEAD
    assert found + HEAD == published


def test_a_split_projection_is_the_fused_one():
    fused = nn.Linear(8, 24)
    tokens = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(SplitProjection(fused)(tokens), fused(tokens), rtol=0, atol=1e-6)
    bare = nn.Linear(8, 24, bias=False)
    torch.testing.assert_close(SplitProjection(bare)(tokens), bare(tokens), rtol=0, atol=1e-6)


def test_lora_on_queries_and_values_leaves_keys_alone(classifier, pixels):
    network = apply_method(classifier, MethodConfig(kind="lora", rank=2))
    names = [name for name, p in network.named_parameters() if p.requires_grad and "lora" in name]
    assert names
    assert not any("k_proj" in name for name in names)


@pytest.mark.parametrize(
    "method",
    [
        MethodConfig(kind="expansion", expansions=2),
        MethodConfig(kind="lora", rank=2),
        MethodConfig(kind="lora", rank=2, targets="qkv"),
        MethodConfig(kind="linear"),
        MethodConfig(kind="top", blocks=1),
        MethodConfig(kind="full"),
    ],
    ids=lambda method: method.label,
)
def test_at_first_every_method_is_the_original(classifier, pixels, method):
    expected = classifier(pixels)
    network = apply_method(classifier, method).eval()
    # LoRA on queries and values multiplies by three smaller matrices, whose sums round differently.
    torch.testing.assert_close(network(pixels), expected, rtol=0, atol=1e-6 if method.kind == "lora" else 0)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (MethodConfig(kind="expansion", expansions=3), "num_expansions must divide the 4 blocks, got 3"),
        (MethodConfig(kind="top", blocks=5), "blocks must be at most the network's 4, got 5"),
    ],
)
def test_a_method_that_does_not_fit_is_one_line(classifier, method, said):
    with pytest.raises(ConfigError, match=said):
        apply_method(classifier, method)
