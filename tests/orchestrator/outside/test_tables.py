"""Tables as people have them are read; what cannot be read is told with its place."""

from __future__ import annotations

import errno
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.errors import UsageError
from orchestrator.outside import OutsideVerdict, judge_file, read_rule
from orchestrator.study import shipped_studies

RULE = {"metric": "f1", "comparator": "a", "bands": [{"at_least": 1, "name": "small"}]}
ROWS = "arm,seed,f1\na,0,1.5\na,1,2.5\nb,0,3.5\nb,1,5.5\n"


def judged(
    folder: Path,
    content: str | bytes,
    name: str = "r.csv",
    columns: Sequence[str] = (),
    **rule: Any,
) -> OutsideVerdict:
    rule_file, results = folder / "rule.yaml", folder / name
    rule_file.write_text(yaml.safe_dump({**RULE, **rule}))
    results.write_bytes(content if isinstance(content, bytes) else content.encode())
    return judge_file(str(results), read_rule(rule_file), columns)


def means(found: OutsideVerdict) -> dict[str, float | None]:
    assert found.verdict is not None
    return {one.arm: one.mean for one in (*found.verdict.arms, *found.verdict.controls)}


def as_json(rows: str) -> list[dict[str, Any]]:
    head, *lines = rows.splitlines()
    return (
        [
            {"arm": arm, "seed": int(seed), "f1": float(f1)}
            for arm, seed, f1 in (line.split(",") for line in lines)
        ]
        if head
        else []
    )


SAME: dict[str, str | bytes] = {
    "plain.csv": ROWS,
    "blank lines.csv": ROWS.replace("\n", "\n\n"),
    "windows.csv": ROWS.replace("\n", "\r\n"),
    "mark.csv": b"\xef\xbb\xbf" + ROWS.encode(),
    "utf16.csv": ROWS.encode("utf-16"),
    "utf16le.csv": ROWS.encode("utf-16-le"),
    "utf16be.csv": ROWS.encode("utf-16-be"),
    "packed.csv.gz": gzip.compress(ROWS.encode()),
    "old mac.csv": ROWS.replace("\n", "\r"),
    "parent run.csv": ROWS + ",,\n",
    "long cell.csv": ROWS.replace("f1\n", "f1,note\n", 1).replace(
        "5\n", "5," + "x" * 200_000 + "\n"
    ),
    "semicolons.csv": ROWS.replace(",", ";").replace(".", ","),
    "excel.csv": "sep=;\r\n" + ROWS.replace(",", ";").replace("\n", "\r\n"),
    "bare rows.csv": ROWS.replace("\n", ",\n") + ",,,\n,,,\n",
    "tabs.tsv": ROWS.replace(",", "\t"),
    "quoted.csv": ROWS.replace("a,", '"a",'),
    "blanks.csv": ROWS.replace(",", " , "),
    "seeds.csv": ROWS.replace(",0,", ",0.0,").replace(",1,", ",1e0,"),
    "other case.csv": ROWS.replace("arm,seed", "Arm,Seed"),
    "w&b.csv": ROWS.replace("arm,seed,f1", "config.arm,config.seed,summary.f1"),
    "mlflow.csv": ROWS.replace("arm,seed,f1", "tags.arm,params.seed,metrics.f1"),
    "score.csv": ROWS.replace("f1", "score"),
    "lines.jsonl": "\n".join(map(json.dumps, as_json(ROWS))),
    "list.json": json.dumps(as_json(ROWS), indent=1),
    "nested.jsonl": "\n".join(
        json.dumps({"config": {"arm": r["arm"], "seed": r["seed"]}, "summary": {"f1": r["f1"]}})
        for r in as_json(ROWS)
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_a_table_is_read_however_it_is_written(name: str, tmp_path: Path) -> None:
    assert means(judged(tmp_path, SAME[name], name)) == {"a": 2.0, "b": 4.5}


def test_columns_are_mapped_and_arms_made_of_several(tmp_path: Path) -> None:
    rows = "method,lr,s,eval/f1\nx,1,0,1\nx,1,1,2\nx,2,0,3\nx,2,1,5\n"
    columns = ["arm=method,lr", "seed=s", "score=eval/f1"]
    found = judged(tmp_path, rows, columns=columns, comparator="method=x,lr=1")
    assert means(found) == {"method=x,lr=1": 1.5, "method=x,lr=2": 4.0}
    assert found.columns["f1"] == "eval/f1"


def test_rows_of_other_metrics_and_splits_do_not_count(tmp_path: Path) -> None:
    rows = "arm,seed,metric,split,value\n" + "".join(
        f"{arm},{seed},{metric},{split},{value}\n"
        for arm, value in (("a", 1), ("b", 4))
        for seed in (0, 1)
        for metric, split in (("f1", "test"), ("loss", "test"), ("f1", "dev"))
    )
    assert means(judged(tmp_path, rows)) == {"a": 1.0, "b": 4.0}


def test_of_a_run_in_steps_the_last_one_counts(tmp_path: Path) -> None:
    rows = "arm,seed,step,f1\n" + "".join(
        f"{arm},0,{step},{step}\n" for arm in "ab" for step in (2, 10, 1)
    )
    assert means(judged(tmp_path, rows)) == {"a": 10.0, "b": 10.0}


def test_a_run_that_ends_at_infinity_is_not_judged_by_an_earlier_step(tmp_path: Path) -> None:
    rows = "arm,seed,_step,f1\n" + "".join(
        f"{arm},0,{step},{score}\n" for arm in "ab" for step, score in ((1, 3), (2, "inf"), (3, ""))
    )
    assert means(judged(tmp_path, rows)) == {"a": None, "b": None}


def _units(score: Callable[[str, int, int], float], units: str = "q{unit}") -> str:
    return "arm,seed,unit,f1\n" + "".join(
        f"{arm},{seed},{units.format(arm=arm, seed=seed, unit=unit)},{score(arm, seed, unit)}\n"
        for arm in "ab"
        for seed in range(3)
        for unit in range(9)
    )


def _own(arm: str, seed: int, unit: int) -> float:
    return hash((arm == "b", seed, unit)) % 1000 / 7


def test_a_run_that_is_there_twice_is_told(tmp_path: Path) -> None:
    twice = judged(tmp_path, _units(lambda arm, seed, unit: _own(arm, seed // 2, unit)))
    told = [note for note in _notes(twice) if "scored exactly the same" in note]
    assert [note.partition(" scored")[0] for note in told] == ["a: seeds 0, 1", "b: seeds 0, 1"]
    known = judged(tmp_path, ROWS.replace("2.5", "1.51234567").replace("1.5\n", "1.51234567\n"))
    assert "a: seeds 0, 1 scored exactly the same" in " ".join(_notes(known))


@pytest.mark.parametrize("score", [_own, lambda arm, seed, unit: 0.0])
def test_runs_that_differ_or_are_constant_are_not(
    score: Callable[[str, int, int], float], tmp_path: Path
) -> None:
    assert "exactly the same" not in " ".join(_notes(judged(tmp_path, _units(score))))
    assert "exactly the same" not in " ".join(_notes(judged(tmp_path, ROWS.replace("2.5", "1.5"))))


def test_units_that_are_none_are_told(tmp_path: Path) -> None:
    own = " ".join(_notes(judged(tmp_path, _units(_own, "s{seed}-{unit}"))))
    assert "every unit was scored under one seed alone" in own
    apart = " ".join(_notes(judged(tmp_path, _units(_own, "{arm}-{unit}"))))
    assert "b: shares no unit with 'a'" in apart


def test_true_and_false_are_scores(tmp_path: Path) -> None:
    rows = "arm,seed,unit,f1\na,0,q,True\na,0,r,false\nb,0,q,TRUE\nb,0,r,true\n"
    assert means(judged(tmp_path, rows)) == {"a": 0.5, "b": 1.0}


@pytest.mark.parametrize("empty", ["", "nan", "NaN", "n/a", "null", "None"])
def test_what_was_not_measured_is_not_0(empty: str, tmp_path: Path) -> None:
    found = judged(tmp_path, ROWS.replace("2.5", empty))
    assert found.verdict is not None
    assert means(found)["a"] == 1.5
    assert found.verdict.arms[1].label == "incomplete"


def test_a_planned_run_that_is_missing_leaves_no_verdict(tmp_path: Path) -> None:
    found = judged(tmp_path, ROWS, seeds="0-2")
    assert found.verdict is not None
    assert found.verdict.state == "no verdict yet"
    assert found.verdict.answer == "No verdict yet: 4 of 6 trials have ended."
    assert any("a seed 2; b seed 2" in note for note in found.verdict.notes)


def test_an_arm_that_is_planned_and_not_there_is_waited_for(tmp_path: Path) -> None:
    arms = [{"name": "c"}]
    found = judged(tmp_path, ROWS, seeds=[0, 1], arms=arms)
    assert found.verdict is not None
    assert found.verdict.answer == "No verdict yet: 4 of 6 trials have ended."


def test_a_deterministic_arm_needs_one_run(tmp_path: Path) -> None:
    rows = ROWS.replace("a,1,2.5\n", "")
    assert "deterministic: [a]" in " ".join(_notes(judged(tmp_path, rows, seeds=[0, 1])))
    found = judged(tmp_path, rows, seeds=[0, 1], deterministic=["a"])
    assert found.verdict is not None
    assert found.verdict.state == "screen"


def _notes(found: OutsideVerdict) -> tuple[str, ...]:
    assert found.verdict is not None
    return found.verdict.notes


def test_seeds_that_were_not_planned_are_an_extension(tmp_path: Path) -> None:
    notes = _notes(judged(tmp_path, ROWS, seeds=[0]))
    assert any(note.startswith("extended: the rule did not plan a seed 1") for note in notes)


def test_it_says_that_the_rule_was_not_fixed_here(tmp_path: Path) -> None:
    found = judged(tmp_path, ROWS)
    assert _notes(found)[0] == (
        f"the rule {found.rule.hash} is as given now; whether it was fixed before the results is "
        "not known here."
    )


def test_arms_on_different_devices_are_mixed(tmp_path: Path) -> None:
    rows = "arm,seed,f1,device\na,0,1,cpu\nb,0,2,cuda\n"
    found = judged(tmp_path, rows)
    assert found.verdict is not None
    assert found.verdict.mixed == ("trials differ in device (cpu, cuda)",)


def test_flags_and_failures_are_heard(tmp_path: Path) -> None:
    rows = "arm,seed,f1,state,flags,failure\na,0,1,finished,,\na,1,1,done,,\n"
    rows += "b,0,9,done,collapsed,\nb,1,9,done,,\nc,0,,failed,,diverged: loss\nc,1,1,done,,\n"
    found = judged(tmp_path, rows)
    assert found.verdict is not None
    assert [one.label for one in found.verdict.arms] == ["comparator", "collapsed", "diverged"]


def test_where_no_score_is_finite_nothing_was_measured(tmp_path: Path) -> None:
    found = judged(tmp_path, "arm,seed,f1\na,0,nan\na,1,nan\nb,0,nan\nb,1,nan\n")
    assert found.verdict is not None
    assert found.verdict.answer.startswith("Nothing was measured: none of 4 trials")


@pytest.mark.parametrize("unit", ["", ",unit"])
def test_infinite_scores_are_counted_by_arm(tmp_path: Path, unit: str) -> None:
    q = ",q" if unit else ""
    rows = f"arm,seed{unit},f1\na,0{q},1\na,1{q},2\nb,0{q},inf\nb,1{q},1e400\n"
    told = "b: 2 scores of f1 are not finite: taken as not measured."
    assert told in _notes(judged(tmp_path, rows))


def test_an_arm_with_seeds_of_its_own_is_not_called_deterministic(tmp_path: Path) -> None:
    rows = "arm,seed,f1\na,0,1\na,1,2\nb,0,2\nc,0,2\n"
    arms = [{"name": "b", "seeds": [0, 1]}, {"name": "c"}]
    (note,) = (
        note
        for note in _notes(judged(tmp_path, rows, arms=arms, seeds=[0, 1]))
        if note.startswith("not there yet")
    )
    assert "deterministic: [c]" in note


def test_a_rule_may_be_that_of_a_shipped_study(tmp_path: Path) -> None:
    by_name = read_rule(Path("lora-sweep"))
    assert by_name.hash == read_rule(shipped_studies()["lora-sweep"]).hash
    with pytest.raises(UsageError, match=r"no rule file 'lora-swep'.*shipped study"):
        read_rule(Path("lora-swep"))
    odd = tmp_path / "odd.yaml"
    odd.write_text("{")
    with pytest.raises(UsageError, match=r"^rule file '.*odd.yaml'"):
        read_rule(odd)


def test_a_place_that_cannot_be_made_is_wrong_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from orchestrator.cli import main

    (tmp_path / "r.csv").write_text(ROWS)
    (tmp_path / "rule.yaml").write_text(yaml.safe_dump(RULE))
    words = ["verdict", str(tmp_path / "r.csv"), "--rule", str(tmp_path / "rule.yaml"), "--out"]

    def refused(out: Path | str) -> str:
        monkeypatch.setattr("sys.argv", ["orrery", *words, str(out)])
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code == 2
        return capsys.readouterr().err.replace("\n", " ")

    below_file = tmp_path / "r.csv" / "below"
    assert f"orrery: --out '{below_file}' cannot be made: Not a directory" in refused(below_file)
    assert "Give another folder" in refused("/proc/none")

    def forbidden(out: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(out))

    monkeypatch.setattr("orchestrator.cli.verdict._refuse_place", forbidden)
    told = refused(tmp_path / "theirs")
    assert f"orrery: '{tmp_path / 'theirs'}' is not yours to use: Permission denied." in told


def test_a_small_file_that_takes_long_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "r.csv").write_text(ROWS)
    (tmp_path / "rule.yaml").write_text(yaml.safe_dump(RULE))
    words = ["verdict", str(tmp_path / "r.csv"), "--rule", str(tmp_path / "rule.yaml"), "--json"]
    told = Event()
    judge = judge_file

    def slowly(*given: Any) -> OutsideVerdict:
        assert told.wait(30)
        return judge(*given)

    def echo(text: str, err: bool = False) -> None:
        if err:
            assert text.startswith("reading and judging")
            told.set()

    monkeypatch.setattr("orchestrator.cli.verdict.SILENT_S", 0.01)
    monkeypatch.setattr("orchestrator.cli.verdict.typer.echo", echo)
    monkeypatch.setattr("orchestrator.outside.judge_file", slowly)
    assert CliRunner().invoke(app, words).exit_code == 0
    assert told.is_set()


WRONG: dict[str, tuple[str | bytes, str]] = {
    "no arm": ("method,seed,f1\na,0,1\n", r"no column 'arm'.*Its columns: method, seed, f1"),
    "no score": ("arm,seed,f2\na,0,1\n", r"no column 'f1' or score.*Did you mean 'f2'"),
    "no number": ("arm,seed,f1\na,0,1\na,1,one\n", r"line 3, column 'f1': 'one' is no number"),
    "in lines": ('arm,seed,f1\n"a\nb",0,1\n\na,1,x\n', r"line 5, column 'f1': 'x'"),
    "hash": ("arm,seed,f1\na,7c6d,1\n", r"'7c6d' is no number. A seed is a whole number"),
    "large seed": ("arm,seed,f1\na,18446744073709551616,1\n", r"is beyond 2\^53"),
    "huge seed": (f"arm,seed,f1\na,{'9' * 400},1\n", r"'9{39}…' is beyond 2\^53"),
    "beyond its squares": ("arm,seed,f1\na,0,1e99\n", r"line 2, column 'f1': is beyond"),
    "beyond": ("arm,seed,f1\na,0,1e300\n", r"line 2, column 'f1': is beyond"),
    "nameless": (
        "arm,seed,f1\na,0,1\n,,1\n",
        r"line 3, column 'f1': holds a score, and the row no",
    ),
    "wide": (",".join(["c"] * 20_001) + "\n1\n", r"has 20,001 columns"),
    "thousands": ("arm;seed;f1\na;0;1.234,5\n", r"line 2.*a point and nothing for thousands"),
    "both marks": ("arm;seed;f1\na;0;1,5\na;1;1.5\n", r"'1,5' has a comma, and '1.5' in line 3"),
    "percent": ("arm,seed,f1\na,0,5%\n", r"without %"),
    "seed": ("arm,seed,f1\na,s1,1\n", r"line 2, column 'seed': 's1' is no number"),
    "half seed": ("arm,seed,f1\na,0.5,1\n", r"'0.5' is no whole number"),
    "truth": ("arm,seed,f1\na,true,1\n", r"'true' is no whole number"),
    "no seed": ("arm,seed,f1\na,,1\n", r"line 2, column 'seed': is empty"),
    "no arm's name": ("arm,seed,f1\na,0,1\n,1,1\n", r"line 3, column 'arm': is empty"),
    "twice": ("arm,seed,f1\na,0,1\na,0,2\n", r"line 3.*arm 'a', seed 0; the first is in line 2"),
    "unit twice": (
        "arm,seed,unit,f1\na,0,q,1\na,0,q,1\n",
        r"line 3, column 'unit': 'q' was scored in line 2",
    ),
    "no unit": ("arm,seed,unit,f1\na,0,q,1\na,0,,1\n", r"line 3, column 'unit': is empty"),
    "two clusters": (
        "arm,seed,unit,cluster,f1\na,0,q,c,1\nb,0,q,d,1\n",
        r"line 3, column 'cluster': the unit 'q' is in 'd' here and in 'c' in line 2",
    ),
    "no cluster": (
        "arm,seed,unit,cluster,f1\na,0,q,c,1\na,0,r,,1\n",
        r"line 3, column 'cluster': is empty",
    ),
    "no comparator": ("arm,seed,f1\nA,0,1\n", r"Unknown arm in .* 'a'.*Valid: A"),
    "two states": (
        "arm,seed,unit,f1,state\na,0,q,1,done\na,0,r,1,failed\n",
        r"line 3, column 'state': 'failed', but line 2 says 'done'",
    ),
    "state": ("arm,seed,f1,state\na,0,1,gone\n", r"Unknown state 'gone'"),
    "split": ("arm,seed,split,f1\na,0,dev,1\na,1,train,1\n", r"Unknown split 'test'"),
    "metric": ("arm,seed,metric,score\na,0,f2,1\n", r"Unknown metric 'f1'.*'f2'"),
    "empty": ("", r"is empty"),
    "header alone": ("arm,seed,f1\n", r"no row of scores"),
    "ragged": ("arm,seed,f1\na,0,1\na,1,2,3\n", r"line 3 has 4 cells, and the header 3"),
    "columns twice": ("arm,seed,arm\na,0,1\n", r"two columns called 'arm'"),
    "open quote": ('arm,seed,f1\na,0,1\n"a,1,2\nb,0,1\n', r"line 3 opens a quote"),
    "latin": (b"arm,seed,f1\na,0,1\n\xe9,0,1\n", r"line 3 is not UTF-8 \(byte 0xe9\)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_judged_is_told_with_its_place(case: str, tmp_path: Path) -> None:
    content, message = WRONG[case]
    with pytest.raises(UsageError, match=message):
        judged(tmp_path, content)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.jsonl", '{"arm": "a"}\n{"arm"', r"line 2 is no JSON"),
        ("r.jsonl", "5\n", r"line 1 is 5, but should be an object"),
        ("r.json", "[{}, 3]", r"entry 2 is 3"),
        ("r.json", "[" * 100_000, r"nested too deeply"),
        ("r.jsonl", '{"arm": "\\ud800"}', r"half a character"),
        ("r.parquet", "PAR1", r"no Parquet file"),
        ("r.csv.gz", gzip.compress(ROWS.encode(), mtime=0)[:-9], r"no whole gzip file"),
        ("r.xlsx", "x", r"a spreadsheet"),
        ("r.dat", "x", r"says no format.*--format"),
    ],
)
def test_files_that_are_none(name: str, content: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        judged(tmp_path, content, name)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("score", "not NAME=COLUMN"),
        ("scor=f1", "Did you mean 'score'"),
        ("score=f2", "no column 'f2'"),
    ],
)
def test_a_mapping_that_means_nothing(column: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        judged(tmp_path, ROWS, columns=[column])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("comparatr: a\nmetric: f1\nbands: []", r"Unknown key 'verdict.comparatr'. Did you mean"),
        ("seeds: 0-4", "decides nothing"),
        ("alarms: {}", "asks for alarms, which no table of scores answers"),
        ("arms: [{name: a}, {name: a}]\nmetric: f1", "arm 'a' is given twice"),
    ],
)
def test_a_rule_that_cannot_be_applied(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rule.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_rule(path)


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    judged(tmp_path, ROWS)
    (tmp_path / "report.html").write_text("mine")
    words = ["verdict", str(tmp_path / "r.csv"), "--rule", str(tmp_path / "rule.yaml")]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path)])
    assert isinstance(done.exception, UsageError)
    assert "holds other files" in str(done.exception)
    assert (tmp_path / "report.html").read_text() == "mine"


def test_standard_input_that_is_closed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(tmp_path, ROWS)
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UsageError, match="Standard input is closed"):
        judge_file("-", read_rule(tmp_path / "rule.yaml"))


def test_a_study_of_effects_alone_is_left_to_the_study() -> None:
    with pytest.raises(UsageError, match="asks for effects, which no table of scores answers"):
        read_rule(Path("workloads/ablation/studies/ablation.yaml"))
