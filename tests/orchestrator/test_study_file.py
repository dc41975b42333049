"""Study files: presets, settings, and errors that say what was given and what is valid."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from orchestrator import Study, UsageError
from orchestrator.cli.app import app
from orchestrator.home import Home
from orchestrator.plan_file import write_plan
from orchestrator.publishing import reproduce_command
from orchestrator.study import shipped_studies
from orchestrator.study_file import (
    Asha,
    StudyFile,
    merged,
    parse_setting,
    parse_yaml,
    set_dotted,
    with_preset,
    with_settings,
)
from tests.orchestrator.quick_study import arm, configurations, quick_study, rule, write_study
from workloads.registry import load_workload, registered


def refusal(mapping: dict[str, Any], home: Home, **options: Any) -> str:
    """The one line with which a study is refused, at the latest when it is planned."""
    with pytest.raises(UsageError) as caught:
        Study.load(mapping, home=home.root, **options).plan()
    message = str(caught.value)
    assert "\n" not in message
    return message


# -- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("samples=300", "samples", 300),
        ("lora.rank=8", "lora.rank", 8),
        ("model=a=b", "model", "a=b"),
        ("lora=null", "lora", None),
        ("seeds=[0, 1]", "seeds", [0, 1]),
        ("extra={gain: 2.5}", "extra", {"gain": 2.5}),
        ("flag=true", "flag", True),
        ("name=", "name", ""),
        ("path=[not yaml", "path", "[not yaml"),
        ("url=http://x:1/y", "url", "http://x:1/y"),
    ],
)
def test_a_setting_is_read_as_yaml(text: str, key: str, value: Any) -> None:
    assert parse_setting(text) == (key, value)


@pytest.mark.parametrize("text", ["samples", "=3", "3x=4", "a b=1", ""])
def test_a_setting_that_is_no_assignment_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"not key=value\. Example: -s samples=300"):
        parse_setting(text)


@pytest.mark.parametrize("text", ["1e-4", "1.0e-4", "0.0001", "1E-4"])
def test_every_way_to_write_a_number_means_the_number(text: str, home: Home) -> None:
    settings = dict([parse_setting(f"effect={text}")])
    study = Study.load(quick_study(arm("a")), settings=settings, home=home.root)
    assert study.trials()[0].config.effect == 0.0001  # type: ignore[attr-defined]


def test_a_setting_of_the_study_goes_to_the_study_and_others_to_its_base() -> None:
    data = quick_study()
    changed = with_settings(
        data, {"seeds": [7], "resources.cpus": 2, "effect": 3, "base.noise": 0.5, "extra.gain": 1}
    )
    assert changed["seeds"] == [7]
    assert changed["resources"] == {"cpus": 2}
    assert changed["base"] == {"steps": 3, "effect": 3, "noise": 0.5, "extra": {"gain": 1}}


def test_settings_leave_what_they_were_given_alone() -> None:
    data = quick_study()
    with_settings(data, {"effect": 3, "design.arms": []})
    assert data == quick_study()


@pytest.mark.parametrize("key", ["name", "workload", "presets.smoke"])
def test_what_a_study_is_cannot_be_set(key: str) -> None:
    with pytest.raises(UsageError, match="cannot be set with -s: edit the study file"):
        with_settings(quick_study(), {key: "x"})


def test_a_setting_below_a_plain_value_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'steps' is 3, which has no keys below it"):
        set_dotted({"steps": 3}, "steps.many", 1)


@pytest.mark.parametrize("key", ["effect", "base.effect"])
def test_a_setting_that_every_arm_overrides_is_refused(key: str) -> None:
    data = quick_study()
    data["design"]["arms"] = [
        {"name": f"arm-{effect}", "overrides": {"effect": effect}} for effect in (1, 2)
    ]
    with pytest.raises(UsageError, match="'effect' is set by every arm of this study"):
        with_settings(data, {key: 3})
    data["design"]["arms"].append({"name": "base"})  # which reads it
    assert with_settings(data, {key: 3})["base"]["effect"] == 3


def test_overrides_merge_mappings_and_replace_the_rest() -> None:
    base = {"a": {"x": 1, "y": 2}, "l": [1, 2], "n": None}
    assert merged(base, {"a.x": 5, "l": [3], "n.z": 1}) == {
        "a": {"x": 5, "y": 2},
        "l": [3],
        "n": {"z": 1},
    }
    assert merged(base, {"a": None})["a"] is None
    assert base == {"a": {"x": 1, "y": 2}, "l": [1, 2], "n": None}


# -- presets --------------------------------------------------------------------------------------

PRESETS = {"smoke": {"seeds": [0], "steps": 1, "design.arms": [arm("plain", "baseline")]}}


def test_a_preset_is_settings_with_a_name() -> None:
    data = quick_study(presets=PRESETS)
    assert with_preset(data, "smoke") == with_settings(data, PRESETS["smoke"])


def test_settings_win_over_the_preset(home: Home) -> None:
    study = Study.load(
        quick_study(presets=PRESETS), preset="smoke", settings={"steps": 2}, home=home.root
    )
    assert study.file.base["steps"] == 2
    assert study.file.seeds == [0]


def test_an_unknown_preset_is_refused_with_the_nearest(home: Home) -> None:
    message = refusal(quick_study(presets=PRESETS), home, preset="smok")
    assert message == "Unknown preset 'smok'. Did you mean 'smoke'? Valid: smoke."


# -- errors ---------------------------------------------------------------------------------------

SEARCH = {
    "kind": "search",
    "space": {"effect": {"uniform": [0, 1]}},
    "budget": 1,
    "metric": "train/x",
}

WRONG = {
    "key of the study": ({"sedes": [1]}, "Unknown key 'sedes'. Did you mean 'seeds'?"),
    "key of a part": ({"resources": {"cpu": 1}}, "Unknown key 'resources.cpu'. Did you mean"),
    "key of an arm": (
        {"design": configurations({"name": "a", "rôle": "arm"})},
        "Did you mean 'role'?",
    ),
    "key of the rule": ({"verdict": {**rule(), "confidense": 1}}, "Did you mean 'confidence'?"),
    "type": ({"seeds": "many"}, "'seeds' is 'many', but should be a valid list."),
    "role": ({"design": configurations(arm("a", "contrl"))}, "'baseline', 'comparator', 'arm'"),
    "value": ({"resources": {"cpus": 0}}, "'resources.cpus' is 0, but should be greater than 0."),
    "kind of design": ({"design": {"kind": "gird"}}, "'configurations'"),
    "no question": ({"question": None}, "'question' is None"),
    "a seed below 0": ({"seeds": [-1]}, "'seeds.0' is -1, but should be greater than or equal"),
    "a number that YAML takes for a text": (
        {"seeds": ["1e3"]},
        "'seeds.0' is '1e3', but should be a whole number; write 1000.",
    ),
    "a band that is no number": (
        {"verdict": {**rule(), "bands": [{"at_least": float("nan"), "name": "small"}]}},
        "'verdict.bands.0.at_least' is nan, but should be a finite number.",
    ),
    "seeds twice": ({"seeds": [1, 1]}, "seeds must differ, but 1 is given more than once"),
    "no seeds": ({"seeds": []}, "'seeds' is []"),
    "arms twice": (
        {"design": configurations(arm("a"), arm("a"))},
        "arm names must differ, but a is given more than once",
    ),
    "name of an arm": ({"design": configurations(arm("a/b"))}, "'a/b'"),
    "no levels": (
        {"design": {"kind": "grid", "factors": {"effect": []}}},
        "factor 'effect' has no levels",
    ),
    "log of nothing": (
        {
            "design": {
                "kind": "search",
                "space": {"effect": {"loguniform": [0, 1]}},
                "budget": 1,
                "metric": "x",
            }
        },
        "loguniform needs bounds above 0, got [0.0, 1.0]",
    ),
    "seed that chose the winner": (
        {"seeds": [7, 8], "design": {**SEARCH, "explore_seed": 8}},
        "design.explore_seed 8 is among the seeds [7, 8]",
    ),
    "metric that no trial reports": (
        {"design": {**SEARCH, "metric": "train/y"}},
        "Unknown search metric 'train/y'. Did you mean 'train/x'? Valid: train/x.",
    ),
    "metric of the report split": (
        {"design": {**SEARCH, "metric": "f1"}},
        "Unknown search metric 'f1'. Valid: train/x. A search learns from what is reported",
    ),
    "metric of the report split with one of the dev split": (
        {"workload": "latent_lora", "base": {}, "design": {**SEARCH, "metric": "f1"}},
        "Did you mean 'eval/f1'?",
    ),
    "key of the configuration": (
        {"base": {"efect": 1}},
        "arm 'plain': Unknown key 'efect'. Did you mean 'effect'?",
    ),
    "key of an override": (
        {"design": configurations(arm("a"), arm("b", stpes=1))},
        "arm 'b': Unknown key 'stpes'. Did you mean 'steps'?",
    ),
    "nested key": ({"base": {"extra": {"gian": 1}}}, "'extra.gian'. Did you mean 'gain'?"),
    "nested value": ({"base": {"extra": {"gain": "much"}}}, "'extra.gain' is 'much'"),
    "value of the configuration": ({"base": {"steps": 0}}, "'steps' is 0, but should be greater"),
    "number that is none": ({"base": {"effect": float("nan")}}, "should be a finite number"),
    "word": ({"base": {"fault": "rais"}}, "'fault' is 'rais', but should be 'raise'"),
    "workload": ({"workload": "latent_lara"}, "Did you mean 'latent_lora'?"),
    "module": ({"workload": "no.such:Thing"}, "Expected 'package.module:Class'"),
    "no workload": ({"workload": "pathlib:Path"}, "not a subclass of"),
    "input": ({"base": {"data": "/not/there"}}, "arm 'plain': data '/not/there' cannot be read"),
    "comparator": ({"verdict": rule("plane")}, "plane"),
}


@pytest.mark.parametrize(("parts", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_in_one_line(parts: dict[str, Any], said: str, home: Home) -> None:
    assert said in refusal(quick_study(**parts), home)


def test_a_missing_key_is_named(home: Home) -> None:
    mapping = quick_study()
    del mapping["design"]
    assert "'design' is missing." in refusal(mapping, home)


def test_several_problems_are_said_at_once(home: Home) -> None:
    message = refusal(quick_study(sedes=1, questoin="?"), home)
    assert "'seeds'" in message
    assert "'question'" in message


def test_a_list_is_not_called_short_for_items_that_are_wrong(home: Home) -> None:
    bands = [{"at_least": float("nan"), "name": "small"}]
    assert "at least 1" not in refusal(quick_study(verdict={**rule(), "bands": bands}), home)
    assert "at least 1" in refusal(quick_study(verdict={**rule(), "bands": []}), home)


def test_yaml_that_cannot_be_read_is_placed(tmp_path: Path) -> None:
    path = tmp_path / "torn.yaml"
    path.write_text("name: torn\nquestion: [open\nworkload: x\n")
    with pytest.raises(UsageError, match=r"torn\.yaml': line 3, column \d+ is not YAML"):
        Study.load(path)


def test_a_key_given_twice_is_refused_and_placed() -> None:
    text = "name: x\nbase: {steps: 1}\nquestion: q\nbase: {steps: 2}\n"
    with pytest.raises(UsageError, match=r"line 4.*'base'"):
        parse_yaml(text, "study file 'x.yaml'")


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n")
    with pytest.raises(UsageError, match="holds a list, not a mapping"):
        Study.load(path)


def test_a_file_whose_anchors_explode_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(UsageError, match="too many"):
        Study.load(path)


def test_true_is_no_number(home: Home) -> None:
    for parts in ({"base": {"steps": True}}, {"resources": {"cpus": True}}, {"seeds": [True]}):
        with pytest.raises(UsageError, match="should be a number"):
            Study.load(quick_study(**parts), home=home.root).plan()


def test_a_metric_that_no_trial_ends_with_is_refused(home: Home) -> None:
    with pytest.raises(UsageError, match=r"Unknown verdict\.metric 'g1'. Did you mean 'f1'"):
        Study.load(quick_study(verdict={**rule(), "metric": "g1"}), home=home.root)


def test_terminal_escapes_in_a_question_are_refused(home: Home) -> None:
    with pytest.raises(UsageError, match="control characters"):
        Study.load(quick_study(question="a\x1b[31mred"), home=home.root)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bytes.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="Cannot read study file"):
        Study.load(path)


def test_a_study_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no study file 'nowhere\.yaml'"):
        Study.load("nowhere.yaml")
    with pytest.raises(UsageError, match=r"Unknown study 'no-such'.*orrery list"):
        Study.load("no-such")


def test_a_refused_configuration_is_refused_before_anything_starts(home: Home) -> None:
    study = Study.load(quick_study(arm("bad", effect=666)), home=home.root)
    with pytest.raises(UsageError, match="arm 'bad': effect 666 is refused"):
        study.run()
    assert not list(home.trials.iterdir())


def told(name: str, role: str = "arm", **overrides: Any) -> dict[str, Any]:
    """An arm with words about it."""
    return {**arm(name, role, **overrides), "about": f"what {name} is for"}


# -- the instance ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"question": "Another?"},
        {"hypothesis": "yes"},
        {"resources": {"cpus": 2}},
        {"retries": {"unknown": 1}},
        {"presets": PRESETS},
        {"design": configurations(told("plain", "baseline"), told("better", effect=5.0))},
    ],
    ids=str,
)
def test_what_is_said_of_a_study_leaves_its_instance_alone(
    change: dict[str, Any], home: Home
) -> None:
    before = Study.load(quick_study(verdict=rule()), home=home.root)
    after = Study.load(quick_study(verdict=rule(), **change), home=home.root)
    assert after.instance == before.instance


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": [5]},
        {"base": {"steps": 4}},
        {"design": configurations(arm("plain", "baseline"))},
        {"verdict": {**rule(), "confidence": 0.9}},
    ],
    ids=str,
)
def test_what_a_study_measures_makes_its_instance(change: dict[str, Any], home: Home) -> None:
    before = Study.load(quick_study(verdict=rule()), home=home.root)
    after = Study.load({**quick_study(verdict=rule()), **change}, home=home.root)
    assert after.instance != before.instance


def test_the_command_that_runs_a_study_again_means_the_same_study(
    tmp_path: Path, home: Home
) -> None:
    folder = tmp_path / "with a blank"
    folder.mkdir()
    file = write_study(folder, quick_study(verdict=rule(), presets=PRESETS))
    settings = {"seeds": [0, 1], "data": str(file), "extra.gain": 1.5, "log": "it's"}
    for study in (
        Study.load(file, preset="smoke", settings=settings, home=home.root),
        Study.load(quick_study(presets=PRESETS), preset="smoke", settings=settings, home=home.root),
        Study.load(file, home=tmp_path / "elsewhere"),
    ):
        write_plan(study, study.plan())
        words = shlex.split(reproduce_command(study))
        options = dict(zip(words[3::2], words[4::2], strict=True))
        given = [w for o, w in zip(words[3::2], words[4::2], strict=True) if o == "-s"]
        again = Study.load(
            words[2],
            preset=options.get("--preset"),
            settings=dict(parse_setting(text) for text in given),
            home=options.get("--home"),
        )
        assert (again.instance, again.home) == (study.instance, study.home)


# -- the schema -----------------------------------------------------------------------------------


def schema(*words: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["schema", *words])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_printed_schema_knows_every_shipped_study() -> None:
    validator = jsonschema.Draft202012Validator(schema())
    shipped = shipped_studies()
    assert shipped, "no study is shipped"
    for path in shipped.values():
        validator.validate(yaml.safe_load(path.read_text()))


def test_every_shipped_study_loads_with_every_preset(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    # without a network no hub name can be pinned
    for workload in registered():
        monkeypatch.setattr(type(load_workload(workload)), "pin", lambda *given: given[-1])
    for name, path in shipped_studies().items():
        for preset in (None, *(yaml.safe_load(path.read_text()).get("presets") or {})):
            assert Study.load(name, preset=preset, home=home.root).name == name


def test_the_printed_schema_refuses_what_a_study_file_refuses() -> None:
    validator = jsonschema.Draft202012Validator(schema())
    assert validator.is_valid(quick_study(verdict=rule()))
    for parts in ({"sedes": [1]}, {"seeds": "many"}, {"resources": {"cpus": 0}}):
        assert not validator.is_valid(quick_study(**parts))


def test_the_schema_of_a_workload_is_that_of_its_configuration() -> None:
    found = schema("tests.quick_workload:Quick")
    assert "effect" in found["properties"]


def test_a_study_as_it_was_resolved_loads_as_the_same_instance(tmp_path: Path, home: Home) -> None:
    study = Study.load(quick_study(verdict=rule(), presets=PRESETS), home=home.root)
    resolved = study.file.model_dump(mode="json", exclude={"presets"})
    again = Study.load(write_study(tmp_path, resolved), home=home.root)
    assert again.instance == study.instance
    assert isinstance(study.file, StudyFile)


def test_defaults_of_the_scheduler_are_stated_in_the_schema() -> None:
    assert schema()["$defs"]["Asha"]["properties"]["reduction_factor"]["default"] == (
        Asha().reduction_factor
    )
