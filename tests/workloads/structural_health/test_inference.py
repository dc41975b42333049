"""What a chunk is, what is measured at its end, and how regimes go on."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    RwkvConfig,
    RwkvForCausalLM,
    TopPLogitsWarper,
)

from workloads.errors import DivergedError, InputError
from workloads.models import load_model, load_tokenizer, resolve_model
from workloads.recording import Recorded, resolved, run_recorded
from workloads.structural_health.demos import plot_phase
from workloads.structural_health.inference.chunks import (
    LOG_NAME,
    ChunkRow,
    log_lines,
    read_chunks,
    read_log,
    write_chunks,
)
from workloads.structural_health.inference.generating import (
    end_tokens,
    greedy,
    sampling,
    write_chunk,
)
from workloads.structural_health.inference.phase import Point, by_group, kappa_range
from workloads.structural_health.inference.prompts import load_prompts
from workloads.structural_health.inference.regimes import REGIMES
from workloads.structural_health.inference.state import consistency, entropy
from workloads.structural_health.inference.summary import regime_table
from workloads.structural_health.inference_config import InferenceConfig
from workloads.structural_health.inference_workload import StructuralHealthInference
from workloads.testing import WorkloadContract

FEW: dict[str, Any] = {"steps": 3, "chunk_tokens": 4, "prompts": 4}


@pytest.mark.slow
class TestStructuralHealthInference(WorkloadContract):
    workload = StructuralHealthInference
    config_a: ClassVar = {**FEW, "regime": "lock_in"}
    config_b: ClassVar = {
        **FEW,
        "regime": "decoupled",
        "steps": 5,
        "monitors": ["entropy", "svd_ratio"],
        "monitor_window": 3,
        "checkpoint_steps": 2,
    }


# -- the state at a chunk's end --------------------------------------------------------------------


def test_entropy_is_that_of_the_softmax_in_nats() -> None:
    assert entropy(torch.zeros(50)) == pytest.approx(math.log(50), abs=1e-6)
    assert entropy(torch.tensor([100.0, 0.0, 0.0])) == pytest.approx(0.0, abs=1e-9)
    two = torch.tensor([math.log(0.9), math.log(0.1)])
    assert entropy(two) == pytest.approx(-(0.9 * math.log(0.9) + 0.1 * math.log(0.1)), abs=1e-6)


def test_consistency_is_a_cosine_that_never_leaves_its_range() -> None:
    vector = torch.randn(512, generator=torch.Generator().manual_seed(3))
    assert consistency(vector, 7 * vector) == pytest.approx(1.0)
    assert all((consistency(vector * k, vector) or 2) <= 1.0 for k in (0.3, 1.0, 1e3))
    assert consistency(vector, -vector) == pytest.approx(-1.0)
    assert consistency(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])) == 0.0


def test_a_hidden_state_of_zeros_has_no_consistency() -> None:
    assert consistency(torch.zeros(4), torch.ones(4)) is None


# -- how tokens are chosen -------------------------------------------------------------------------


@pytest.mark.parametrize("top_p", [0.3, 0.9, 0.95, 1.0])
def test_what_can_be_drawn_is_what_transformers_keeps(top_p: float) -> None:
    logits = torch.randn(12, generator=torch.Generator().manual_seed(1)) * 2
    warped = TopPLogitsWarper(top_p)(None, (logits / 0.9)[None])
    kept = set(torch.isfinite(warped[0]).nonzero().flatten().tolist())
    choose = sampling(torch.Generator().manual_seed(0), temperature=0.9, top_p=top_p)
    drawn = [choose(logits) for _ in range(4000)]
    assert set(drawn) <= kept
    share = drawn.count(int(logits.argmax())) / len(drawn)
    assert share == pytest.approx(float(warped[0].softmax(-1).max()), abs=0.04)


def test_a_barred_token_is_never_drawn() -> None:
    logits = torch.tensor([5.0, -torch.inf, 4.0])
    choose = sampling(torch.Generator().manual_seed(0), temperature=1.0, top_p=1.0)
    assert 1 not in {choose(logits) for _ in range(200)}


# -- chunks ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def llama() -> Any:
    return load_model("embedded:llama")


def test_a_chunk_and_its_state_are_those_of_generate(llama: Any) -> None:
    read = torch.randint(8, 500, (1, 12), generator=torch.Generator().manual_seed(2))
    ends = end_tokens(llama)
    made = llama.generate(
        read,
        attention_mask=torch.ones_like(read),
        do_sample=False,
        max_new_tokens=6,
        suppress_tokens=sorted(ends),
        output_logits=True,
        output_hidden_states=True,
        return_dict_in_generate=True,
    )
    chunk = write_chunk(llama, read[0].tolist(), 6, greedy, ends)
    assert list(chunk.ids) == made.sequences[0, 12:].tolist()
    torch.testing.assert_close(chunk.logits, made.logits[-1][0], atol=1e-4, rtol=1e-4)
    last = made.hidden_states[-1][-1][0, -1]
    torch.testing.assert_close(chunk.hidden, last, atol=1e-4, rtol=1e-4)


def _tiny(name: str) -> Any:
    torch.manual_seed(0)
    if name == "gpt2":
        shape = GPT2Config(
            vocab_size=40,
            n_positions=32,
            n_embd=16,
            n_layer=2,
            n_head=2,
            bos_token_id=2,
            eos_token_id=3,
        )
        return GPT2LMHeadModel(shape).eval()
    small = RwkvConfig(vocab_size=40, context_length=32, hidden_size=16, num_hidden_layers=2)
    return RwkvForCausalLM(small).eval()


@pytest.mark.parametrize("name", ["gpt2", "rwkv"])
def test_a_model_that_keeps_its_past_and_one_that_does_not_write_the_likeliest(name: str) -> None:
    model = _tiny(name)
    chunk = write_chunk(model, [5, 6, 7], 5, greedy, ends=())
    read = [5, 6, 7]
    for token in chunk.ids:
        with torch.no_grad():
            logits = model(torch.tensor([read])).logits[0, -1]
        assert token == int(logits.argmax())
        read.append(token)
    torch.testing.assert_close(chunk.logits, logits, atol=1e-5, rtol=1e-5)


def test_a_text_does_not_end_within_a_chunk() -> None:
    model = _tiny("gpt2")
    first = write_chunk(model, [5, 6, 7], 1, greedy, ends=())
    barred = write_chunk(model, [5, 6, 7], 8, greedy, ends=first.ids)
    assert first.ids[0] not in barred.ids
    assert len(barred.ids) == 8
    once = write_chunk(model, [5, 6, 7], 1, greedy, ends=first.ids)
    assert (once.last_read, barred.last_read) == (7, barred.ids[-2])
    torch.testing.assert_close(once.logits, first.logits)  # raw: the bar is in the choice alone


@pytest.mark.parametrize("choose", [greedy, sampling(torch.Generator(), 0.9, 0.95)])
def test_logits_that_are_not_finite_end_the_run_with_a_word(choose: Any) -> None:
    model = _tiny("gpt2")
    with torch.no_grad():
        model.lm_head.weight[7, 0] = torch.nan
    with pytest.raises(DivergedError, match="not finite at token 1"):
        write_chunk(model, [5, 6], 3, choose, ends=())


# -- regimes ---------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[Recorded, list[ChunkRow]]]:
    def trial(seed: int = 0, **fields: Any) -> tuple[Recorded, list[ChunkRow]]:
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        place.mkdir()
        recorded = run_recorded(StructuralHealthInference(), {**FEW, **fields}, place, seed=seed)
        return recorded, read_chunks(next(place.rglob("chunks.csv")).parent)

    return trial


Run = Callable[..., tuple[Recorded, list[ChunkRow]]]


def test_healthy_reads_its_prompt_anew_and_is_compared_with_nothing(run: Run) -> None:
    recorded, rows = run(regime="healthy")
    assert recorded.result is not None
    assert len({(row.entropy, row.text) for row in rows}) == 1
    assert [row.kappa for row in rows] == [None] * 3
    assert recorded.result.metrics["median_kappa"] is None
    assert recorded.result.scores[0].columns["kappa"] == [None] * 3


def test_lock_in_goes_on_with_its_own_text(run: Run, llama: Any) -> None:
    _, rows = run(regime="lock_in")
    tokenizer = load_tokenizer("embedded:llama")
    config = resolved(StructuralHealthInference(), FEW)
    assert isinstance(config, InferenceConfig)
    prompt = load_prompts(config, 0, tokenizer)[0]
    whole = write_chunk(llama, prompt, 12, greedy, end_tokens(llama))
    parts = [tokenizer.decode(whole.ids[at : at + 4]) for at in (0, 4, 8)]
    assert [row.text for row in rows] == parts
    assert rows[0].kappa is None
    assert all(row.kappa is not None for row in rows[1:])


def test_decoupled_takes_two_prompts_in_turn_and_draws(run: Run) -> None:
    recorded, rows = run(regime="decoupled", steps=4, top_p=1e-9)  # so little: the likeliest
    assert recorded.result is not None
    assert rows[0].text == rows[2].text != rows[1].text == rows[3].text
    assert rows[2].kappa == rows[3].kappa is not None
    assert [row.repeats for row in rows] == [None, False, False, False]
    drawn = [run(regime="decoupled", seed=seed, steps=4)[1] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0][0].text != drawn[0][2].text


def test_a_row_is_emitted_for_each_chunk_and_scored(run: Run) -> None:
    recorded, rows = run(regime="geodesic")
    assert recorded.result is not None
    expected = [
        (row.step, {"chunk/entropy": row.entropy, "chunk/kappa": row.kappa}) for row in rows
    ]
    assert recorded.rows == expected
    scores = recorded.result.scores[0]
    assert scores.units == ["1", "2", "3"]
    assert scores.columns["entropy"] == [row.entropy for row in rows]


def test_monitors_watch_the_end_of_each_chunk_and_change_nothing(run: Run) -> None:
    plain, rows = run(regime="geodesic")
    watched, same = run(
        regime="geodesic", monitors=["svd_ratio", "entropy"], monitor_window=2, monitor_layer=None
    )
    assert rows == same
    assert plain.result == watched.result
    health = [(step, values) for step, values in watched.rows if "health/entropy" in values]
    assert [step for step, _ in health] == [1, 2, 3]
    for (_, values), row in zip(health, rows, strict=True):
        assert values["health/entropy"] == pytest.approx(row.entropy, abs=1e-4)
    assert [values["health/svd_ratio"] is None for _, values in health] == [True, False, False]


@pytest.mark.parametrize(
    ("regime", "model_reads"), [("lock_in", 26), ("decoupled", 512), ("healthy", 512)]
)
def test_a_trial_that_was_stopped_goes_on_where_it_was(
    tmp_path: Path, regime: str, model_reads: int
) -> None:
    """Among them one whose text is longer than the model reads, and one that draws."""
    model = str(short_model(tmp_path, model_reads))
    fields = {**FEW, "steps": 5, "regime": regime, "model": model, "checkpoint_steps": 0}
    whole, first, rest = (tmp_path / name for name in ("whole", "first", "rest"))
    for folder in (whole, first, rest):
        folder.mkdir()
    at_once = run_recorded(StructuralHealthInference(), fields, whole, seed=1)
    stopped = run_recorded(StructuralHealthInference(), fields, first, seed=1, leave_after=2)
    assert stopped.result is None
    (saved,) = stopped.checkpoints
    went_on = run_recorded(StructuralHealthInference(), fields, rest, seed=1, start=saved)
    assert went_on.result == at_once.result
    assert stopped.rows + went_on.rows == at_once.rows
    kept = [read_chunks(next(of.glob("*/artifacts"))) for of in (whole, rest)]
    assert kept[0] == kept[1]
    assert len(kept[0]) == 5


def test_how_often_a_trial_is_saved_is_no_reason_to_run_it_again() -> None:
    workload = StructuralHealthInference()
    assert workload.covers({"checkpoint_steps": 5}, {"checkpoint_steps": 1})


def test_replicates_have_prompts_of_their_own() -> None:
    tokenizer = load_tokenizer("embedded:llama")
    config = InferenceConfig(prompts=8)
    drawn = [tuple(map(tuple, load_prompts(config, seed, tokenizer))) for seed in range(4)]
    every = {prompt for pair in drawn for prompt in pair}
    assert len(every) == 8
    assert all(len(prompt) == 16 for prompt in every)
    assert tuple(map(tuple, load_prompts(config, 4, tokenizer))) == drawn[0]  # counted round


def test_what_the_model_cannot_read_at_once_is_cut_from_the_front(run: Run, tmp_path: Path) -> None:
    folder = short_model(tmp_path, 26)
    recorded, rows = run(regime="lock_in", model=str(folder), steps=5)
    assert recorded.result is not None
    assert recorded.result.metrics["cut_contexts"] == 3  # 16, 20 | 24, 26, 26 tokens and 4 more
    assert recorded.result.notes == ["3 of 5 contexts were cut to what the model reads"]
    whole = run(regime="lock_in", steps=5)[1]
    assert rows[:2] == whole[:2]
    assert all(math.isfinite(row.entropy) for row in rows)


def short_model(tmp_path: Path, tokens: int) -> Path:
    """The embedded model, said to read so many tokens and no more."""
    folder = tmp_path / "short"
    source = resolve_model("embedded:llama").path
    assert source is not None
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": tokens}))
    return folder


# -- configurations --------------------------------------------------------------------------------


def checked(**fields: Any) -> InferenceConfig:
    workload = StructuralHealthInference()
    config = resolved(workload, fields)
    assert isinstance(config, InferenceConfig)
    workload.check(config)
    return config


def test_a_regime_has_its_sizes_and_what_it_does_not_read_returns_to_its_default() -> None:
    sizes = {name: (one.steps, one.chunk_tokens) for name, one in REGIMES.items()}
    assert sizes == {
        "healthy": (6, 10), "lock_in": (15, 8), "decoupled": (20, 16), "geodesic": (20, 16)
    }  # fmt: skip
    assert checked(regime="lock_in", temperature=0.5) == checked(regime="lock_in", steps=15)
    assert checked(regime="decoupled", temperature=0.5).temperature == 0.5


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"data": "embedded:questions"}, "is not running text"),
        ({"prompt_tokens": 400}, "no generated story has"),
        ({"chunk_tokens": 500}, "make 516 tokens, and embedded:llama reads 512"),
        ({"model": "nowhere/at-all"}, "nowhere/at-all"),
        ({"monitors": ["svd_ratio"], "monitor_window": 30}, "has 15 chunks"),
    ],
    ids=["questions", "texts too short", "too long", "no model", "window beyond the chunks"],
)
def test_what_cannot_be_written_is_refused_before_it_is_run(
    fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        checked(**fields)


def test_data_of_a_single_text_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "one.txt"
    stories = [f"Ada found {number} coins. " * 20 for number in range(4)]
    text.write_text("<|endoftext|>".join(stories))
    with pytest.raises(InputError, match="unrelated ones are needed"):
        checked(data=str(text))


# -- logs, points and pictures ---------------------------------------------------------------------

ROWS = [
    ChunkRow("L", 1, 2.3226, None, "on\nWednesday  night"),
    ChunkRow("L", 2, 0.0, -0.04441, ""),
    ChunkRow("L", 3, 1.5, 0.99999, "a | b <i>"),
]


def test_log_lines_have_the_source_s_form() -> None:
    assert log_lines(ROWS) == [
        "[L-1] Ent: 2.323 | Cons: Init | Out: on Wednesday night",
        "[L-2] Ent: 0.000 | Cons: -0.0444 | Out: ",
        "[L-3] Ent: 1.500 | Cons: 1.0000 | Out: a | b <i>",
    ]
    assert log_lines([ChunkRow("H", 1, 1.0, None, "x")]) == [
        "[H-1] Ent: 1.000 | Cons: None | Out: x"
    ]


def test_a_log_is_read_with_the_rows_that_have_no_consistency() -> None:
    lines = ["a heading", *log_lines(ROWS), "[H-1] Ent: 0.393 | Cons: None | Out: x"]
    rows = read_log(lines)
    assert [(row.tag, row.step, row.kappa) for row in rows] == [
        ("L", 1, None), ("L", 2, -0.0444), ("L", 3, 1.0), ("H", 1, None)
    ]  # fmt: skip
    assert rows[2].text == "a | b <i>"
    with pytest.raises(InputError, match="no line is like"):
        read_log(["nothing", "of the kind"])


def test_chunks_are_kept_to_the_last_digit(tmp_path: Path) -> None:
    rows = [
        ChunkRow("D", 1, 1 / 3, None, 'say "a,\nb"'),
        ChunkRow("D", 2, 0.1, 2 / 3, "é", repeats=False, same_token=True),
        ChunkRow("D", 3, 0.1, 1.0, "a\r\nb\rc\x00", repeats=True, same_token=False),
    ]
    write_chunks(rows, tmp_path)
    assert read_chunks(tmp_path) == rows
    assert read_log((tmp_path / LOG_NAME).read_text().splitlines())[1].kappa == 0.6667
    assert read_chunks(tmp_path / "elsewhere") == []


def test_the_axis_reaches_points_below_the_source_s_range() -> None:
    points = [Point("lock-in", 0, row) for row in ROWS]
    assert kappa_range(points) == (-0.1, 1.1)
    low, high = kappa_range([*points, Point("lock-in", 0, ChunkRow("L", 4, 1, -0.4, ""))])
    assert low < -0.4
    assert high == 1.1


def test_a_regime_without_consistency_is_not_measured_and_not_0() -> None:
    points = [Point("healthy", seed, ChunkRow("H", 1, 1.0, None, "")) for seed in (0, 1)]
    points += [Point("lock-in", 0, row) for row in ROWS]
    healthy, lock_in = regime_table(by_group(points)).rows
    assert healthy[1:12] == ("2", "2", "0", *("n/a",) * 8)
    assert lock_in[:4] == ("lock-in", "1", "3", "2")
    assert lock_in[6:8] == ("0.500", "0")


def test_a_chunk_that_says_the_same_or_ends_alike_is_counted_and_its_consistency_shown() -> None:
    known = ((0.2, False, False), (0.7, False, True), (0.9, True, True))
    again = [ChunkRow("L", 1, 1.0, None, "x")]
    again += [ChunkRow("L", n, 1.0, *one[:1], "x", *one[1:]) for n, one in enumerate(known, 2)]
    row = regime_table(by_group(Point("lock-in", 0, one) for one in again)).rows[0]
    assert row[7:12] == ("2", "0.800", "0.200", "1", "0.900")


def test_a_log_becomes_a_picture_or_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "probe.log"
    log.write_text("\n".join([*log_lines(ROWS), "[H-1] Ent: 0.393 | Cons: None | Out: x"]))
    for name in ("phase.png", "phase.html"):
        assert plot_phase.main(["--log", str(log), "--out", str(tmp_path / name)]) == 0
        assert "4 chunks, 2 of them without a consistency" in capsys.readouterr().out
    assert (tmp_path / "phase.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "phase.html").read_text()
    assert "https://cdn" not in page.split("<body>")[0]
    assert "Plotly.newPlot" in page
    assert "a | b &lt;i&gt;" in page.encode().decode("unicode_escape", errors="ignore")
    for out in ("phase.gif", "nowhere/phase.png", "nowhere/phase.html"):
        with pytest.raises(SystemExit) as left:
            plot_phase.main(["--log", str(log), "--out", str(tmp_path / out)])
        assert left.value.code == 2
        assert out in capsys.readouterr().err


def test_a_real_model_writes_in_every_regime(shared_data: Path, run: Run) -> None:
    model = str(shared_data / "stories260K-hf")
    loaded = AutoModelForCausalLM.from_pretrained(model)
    assert end_tokens(loaded) == {1, 2}
    for regime in REGIMES:
        _, rows = run(regime=regime, model=model)
        assert len(rows) == 3
        assert all(math.isfinite(row.entropy) for row in rows)
