from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from telemetry import probes
from telemetry.probes import (
    ActivationEnergyProbe,
    EffectiveRankProbe,
    EntropyProbe,
    LayerDeltaProbe,
    MarginProbe,
    MultiProbe,
    Probe,
    SVDProbe,
    effective_rank,
    last_token,
    last_token_position,
)

ALL = (
    SVDProbe,
    EffectiveRankProbe,
    EntropyProbe,
    MarginProbe,
    LayerDeltaProbe,
    ActivationEnergyProbe,
)


def fed(probe: Probe, observations: Any) -> dict[str, float]:
    """The figures after the last of the observations."""
    figures: dict[str, float] = {}
    for observation in observations:
        figures = probe.observe(observation)
    return figures


def shapes_of(vector: torch.Tensor) -> list[torch.Tensor]:
    """The vector as what a probe takes: the last token of the first sample."""
    sequence = torch.randn(4, len(vector))
    sequence[-1] = vector
    return [vector, sequence, torch.stack([sequence, torch.randn(4, len(vector))])]


def test_a_window_says_nothing_until_it_is_full() -> None:
    probe = SVDProbe(window_size=3)
    rows = torch.randn(4, 8)
    assert [set(probe.observe(row)) for row in rows] == [
        set(),
        set(),
        {"sv_ratio", "rank"},
        {"sv_ratio", "rank"},
    ]


def test_the_ratio_is_that_of_the_window_and_not_centred() -> None:
    rows = torch.randn(13, 8) + 5
    figures = fed(SVDProbe(), rows)
    values = torch.linalg.svdvals(rows[-10:].double())
    assert figures["sv_ratio"] == pytest.approx(float(values[0] / values.sum()), rel=1e-5)
    assert figures["rank"] == 8


def test_equal_vectors_of_norm_100_are_of_rank_1() -> None:
    vector = torch.randn(64)
    figures = fed(SVDProbe(10), [100 * vector / vector.norm()] * 10)
    assert figures == {"sv_ratio": 1.0, "rank": 1}


def test_effective_rank_is_of_the_same_window() -> None:
    rows = torch.randn(6, 8)
    figures = fed(EffectiveRankProbe(4), rows)
    exact = effective_rank(torch.linalg.svdvals(rows[-4:].double()).numpy())
    assert figures == {"effective_rank": pytest.approx(exact, rel=1e-5)}


@pytest.mark.parametrize("probe_type", [SVDProbe, EffectiveRankProbe])
def test_ranks_1_2_and_3_and_mappings_agree(probe_type: type[SVDProbe]) -> None:
    vectors = torch.randn(5, 6)
    given_as: list[list[Any]] = [
        list(forms) for forms in zip(*map(shapes_of, vectors), strict=True)
    ]
    as_mappings = [[{"last_hidden_state": item} for item in items] for items in given_as]
    of_all_layers = [[{"hidden_states": (item * 7, item)} for item in items] for items in given_as]
    figures = [fed(probe_type(4), items) for items in (*given_as, *as_mappings, *of_all_layers)]
    assert len(figures[0]) >= 1
    assert all(figure == figures[0] for figure in figures)


@pytest.mark.parametrize("probe_type", ALL)
@pytest.mark.parametrize("rank", [0, 4, 5])
def test_other_ranks_are_refused_with_what_is_valid(probe_type: type[Any], rank: int) -> None:
    tensor = torch.ones((2,) * rank)
    observation = {"hidden_states": (tensor, tensor), "logits": tensor}
    with pytest.raises(ValueError, match=rf"rank {rank}; valid are \[dim\], \[seq, dim\]"):
        probe_type().observe(observation)


@pytest.mark.parametrize("probe_type", ALL)
@pytest.mark.parametrize(
    "observation",
    [
        {},
        (torch.ones(2, 3), torch.ones(2, 3)),
        None,
        {"loss": torch.ones(1)},
        {"last_hidden_state": None, "logits": None, "hidden_states": None},
    ],
    ids=["empty", "a tuple", "nothing", "other", "none"],
)
def test_a_missing_key_is_not_measured(probe_type: type[Any], observation: Any) -> None:
    assert probe_type().observe(observation) == {}


def test_a_window_of_zeros_is_not_measured() -> None:
    assert fed(SVDProbe(2), torch.zeros(3, 4)) == {}
    assert fed(EffectiveRankProbe(2), torch.zeros(3, 4)) == {}


def test_a_window_with_a_nan_is_not_measured_until_it_has_left() -> None:
    probe = SVDProbe(2)
    rows = torch.randn(5, 4)
    rows[2, 1] = math.nan
    assert [bool(probe.observe(row)) for row in rows] == [False, True, False, False, True]


@pytest.mark.parametrize("size", [0, 1, -2])
def test_a_window_of_one_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        SVDProbe(window_size=size)


def test_entropy_and_margin_of_logits_that_are_known() -> None:
    shares = torch.tensor([0.5, 0.25, 0.125, 0.125])
    for logits in shapes_of(shares.log()):
        figures = MultiProbe([EntropyProbe(), MarginProbe()]).observe({"logits": logits})
        assert figures["entropy"] == pytest.approx(1.75 * math.log(2), rel=1e-5)
        assert figures["margin"] == pytest.approx(0.25, rel=1e-5)


def test_entropy_at_its_ends() -> None:
    probe = EntropyProbe()
    assert probe.observe({"logits": torch.zeros(1000)})["entropy"] == pytest.approx(
        math.log(1000), rel=1e-5
    )
    certain = torch.tensor([0.0, -math.inf, -1e4])
    assert probe.observe({"logits": certain}) == {"entropy": 0.0}
    assert MarginProbe().observe({"logits": certain}) == {"margin": 1.0}


def test_a_tensor_is_a_hidden_state_and_no_logits() -> None:
    for probe in (EntropyProbe(), MarginProbe(), LayerDeltaProbe()):
        assert probe.observe(torch.randn(5)) == {}


def test_a_vocabulary_of_one_has_no_margin() -> None:
    assert MarginProbe().observe({"logits": torch.zeros(1)}) == {}


def test_layer_delta_is_one_less_the_cosine_of_the_last_two_layers() -> None:
    before, after = torch.randn(6), torch.randn(6)
    cosine = float(torch.cosine_similarity(before.double(), after.double(), dim=0))
    expected = {
        "layer_delta": pytest.approx(1 - cosine, abs=1e-12),
        "layer_similarity": pytest.approx(cosine, abs=1e-12),
    }
    for first, last in zip(shapes_of(before), shapes_of(after), strict=True):
        as_layers = {"hidden_states": (torch.randn_like(first), first, last)}
        as_two = {"previous_hidden_state": first, "last_hidden_state": last}
        assert LayerDeltaProbe().observe(as_layers) == expected
        assert LayerDeltaProbe().observe(as_two) == expected


def test_a_layer_that_changes_nothing_has_no_delta() -> None:
    vector = torch.randn(2, 3, 50)
    figures = LayerDeltaProbe().observe({"hidden_states": (vector, vector)})
    assert figures == {
        "layer_delta": pytest.approx(0, abs=1e-12),
        "layer_similarity": pytest.approx(1, abs=1e-12),
    }
    assert figures["layer_similarity"] <= 1


def test_one_layer_or_a_zero_vector_has_no_delta() -> None:
    assert LayerDeltaProbe().observe({"hidden_states": (torch.randn(5),)}) == {}
    assert LayerDeltaProbe().observe({"hidden_states": (torch.zeros(5), torch.randn(5))}) == {}


def test_activation_energy_is_the_norm() -> None:
    probe = ActivationEnergyProbe()
    for hidden in shapes_of(torch.tensor([3.0, 4.0])):
        assert probe.observe(hidden) == {"activation_energy": 5.0}
    assert probe.observe(torch.zeros(3)) == {"activation_energy": 0.0}
    assert probe.observe(torch.full((4,), 1e30)) == {
        "activation_energy": pytest.approx(2e30, rel=1e-6)
    }


def test_what_is_not_finite_is_measured_as_such() -> None:
    broken = torch.tensor([1.0, math.nan])
    observation = {"hidden_states": (torch.ones(2), broken), "logits": broken}
    probe = MultiProbe([EntropyProbe(), MarginProbe(), LayerDeltaProbe(), ActivationEnergyProbe()])
    figures = probe.observe(observation)
    assert len(figures) == 5
    assert all(math.isnan(figure) for figure in figures.values())


def test_a_multi_probe_merges_in_order() -> None:
    class Fixed:
        def __init__(self, **figures: float) -> None:
            self.figures = figures

        def observe(self, observation: Any) -> dict[str, float]:
            return self.figures

    merged = MultiProbe([Fixed(a=1, b=2), Fixed(), Fixed(b=3, c=4)]).observe({})
    assert list(merged.items()) == [("a", 1), ("b", 3), ("c", 4)]
    assert MultiProbe([]).observe({}) == {}


@pytest.mark.parametrize("probe_type", [*ALL, lambda: MultiProbe([SVDProbe()])])
def test_all_are_probes(probe_type: Any) -> None:
    assert isinstance(probe_type(), Probe)


@given(
    length=st.integers(1, 9), tokens=st.integers(0, 9), left=st.booleans(), other=st.integers(0, 9)
)
def test_the_last_token_that_is_no_padding_is_watched(
    length: int, tokens: int, left: bool, other: int
) -> None:
    tokens, other = min(tokens, length), min(other, length)
    mask = torch.zeros(2, length, dtype=torch.long)
    if tokens:
        mask[0, slice(length - tokens, None) if left else slice(0, tokens)] = 1
    mask[1, :other] = 1
    hidden = torch.arange(2.0 * length * 3).reshape(2, length, 3)
    seen = last_token(hidden, mask)
    if not tokens:
        assert seen is None
        assert last_token_position(mask) is None
        assert SVDProbe().observe({"last_hidden_state": hidden, "attention_mask": mask}) == {}
        return
    position = length - 1 if left else tokens - 1
    assert last_token_position(mask) == position
    assert seen is not None
    assert torch.equal(seen, hidden[0, position])
    for form, form_mask in ((hidden[0], mask), (hidden[0], mask[0]), (hidden, mask.bool())):
        seen = last_token(form, form_mask)
        assert seen is not None
        assert torch.equal(seen, hidden[0, position])


def test_every_probe_skips_padding() -> None:
    torch.manual_seed(0)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    layers, logits = [torch.randn(2, 5, 8) for _ in range(2)], torch.randn(2, 5, 9)
    padded = {"hidden_states": layers, "logits": logits, "attention_mask": mask}
    cut = {"hidden_states": [layer[:, :3] for layer in layers], "logits": logits[:, :3]}
    for probe_type in ALL[2:]:
        assert probe_type().observe(padded) == probe_type().observe(cut)
    for window_type in ALL[:2]:
        moved = [{**cut, "hidden_states": [layers[0], torch.randn(1, 2, 8)]}, cut]
        also = [moved[0], padded]
        assert fed(window_type(2), moved) == fed(window_type(2), also) != {}


def test_a_mask_that_does_not_fit_is_refused() -> None:
    hidden = torch.ones(2, 5, 3)
    with pytest.raises(ValueError, match="of 4 positions, the values are of 5"):
        last_token(hidden, torch.ones(2, 4))
    with pytest.raises(ValueError, match=r"shape \[2, 1, 5, 5\]; valid are \[seq\]"):
        last_token(hidden, torch.ones(2, 1, 5, 5))


def test_nothing_is_changed_kept_or_drawn() -> None:
    hidden = torch.randn(2, 5, 8, requires_grad=True) * 1.0
    logits = torch.randn(2, 5, 9, requires_grad=True) * 1.0
    observation = {"hidden_states": (hidden, hidden), "logits": logits}
    copies = (hidden.detach().clone(), logits.detach().clone())
    versions = (hidden._version, logits._version)
    state = torch.get_rng_state()
    probe = MultiProbe([probe_type() for probe_type in ALL])
    for _ in range(12):
        figures = probe.observe(observation)
    assert all(isinstance(figure, int | float) for figure in figures.values())
    assert len(figures) == 8
    assert torch.equal(hidden, copies[0])
    assert torch.equal(logits, copies[1])
    assert (hidden._version, logits._version) == versions
    assert torch.equal(torch.get_rng_state(), state)
    assert list(observation) == ["hidden_states", "logits"]
    (hidden.sum() + logits.sum()).backward()


def test_mixed_precision_changes_no_figure() -> None:
    observation = {
        "hidden_states": (torch.randn(2, 5, 64), torch.randn(2, 5, 64)),
        "logits": torch.randn(2, 5, 99),
    }
    for probe_type in ALL[2:]:
        plain = probe_type().observe(observation)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert probe_type().observe(observation) == plain


def test_a_restored_probe_goes_on_as_if_it_had_not_stopped() -> None:
    rows = torch.randn(9, 8)
    straight, resumed = SVDProbe(4), SVDProbe(4)
    fed(straight, rows[:6])
    resumed.restore(straight.to_state())
    for row in rows[6:]:
        assert resumed.observe(row) == straight.observe(row) != {}


def test_a_transformers_output_is_an_observation() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        vocab_size=32,
    )
    model = LlamaForCausalLM(config).eval()
    tokens = torch.tensor([[1, 5, 9, 0, 0]])
    output = model(tokens, output_hidden_states=True)
    probe = MultiProbe([SVDProbe(2), EntropyProbe(), MarginProbe(), LayerDeltaProbe()])
    assert set(probe.observe(output)) == {"entropy", "margin", "layer_delta", "layer_similarity"}
    assert {"sv_ratio", "rank"} <= set(probe.observe(output))
    direct = output.hidden_states[-1][0, -1].detach()
    np.testing.assert_array_equal(probe.probes[0].window.vectors[-1], direct.numpy())  # type: ignore[attr-defined]


def test_importing_the_package_imports_neither_torch_nor_numba() -> None:
    code = (
        "import sys, telemetry.probes\n"
        "heavy = {'torch', 'numba', 'transformers', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there() -> None:
    for name in probes.__all__:
        assert getattr(probes, name) is not None
    assert set(probes.__all__) <= set(dir(probes))
    with pytest.raises(AttributeError, match="no attribute 'SvdProbe'"):
        _ = probes.SvdProbe
