"""What an attempt records of itself before it runs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import distributions
from pathlib import Path

import pytest

from orchestrator import Study
from orchestrator.engine.episode import environment_path, first_claimed_at_s
from orchestrator.engine.worker import AttemptFailed, run_attempt
from orchestrator.home import Home
from orchestrator.provenance import environment_lock, environment_pins
from telemetry import EpisodeContext
from telemetry.parquet import events_in_order
from tests.orchestrator.quick_study import arm, finish, go_on, quick_study, tickets
from workloads.training import stream_seed


def contexts(home: Home, identity: str) -> Iterator[EpisodeContext]:
    for event in events_in_order(home.trial(identity)):
        if isinstance(event.payload, EpisodeContext):
            yield event.payload


def test_a_context_holds_what_it_takes_to_run_again(home: Home) -> None:
    study = Study.load(quick_study(arm("a", effect=2.0), seeds=[7]), home=home.root)
    (identity,) = finish(study)
    (context,) = contexts(home, identity)
    assert context.episode_id == f"{identity}-0000"
    assert context.base_seed == 7
    assert context.hyperparameters == study.trials()[0].config.model_dump(mode="json")
    assert context.timestamp is not None
    assert datetime.fromisoformat(context.timestamp).utcoffset() is not None
    assert context.torch_seed is None, "nothing seeds torch in this workload"
    facts = context.facts
    assert (facts["study"], facts["arm"], facts["replicate"]) == (study.instance, "a", 0)
    assert (facts["ranks"], facts["threads"], facts["workload_version"]) == (1, 1, 1)
    assert context.hardware is not None
    assert context.hardware["cores"] > 0
    assert context.hardware["memory_gib"] > 0


def test_the_packages_are_kept_once_for_all_trials_of_a_home(home: Home) -> None:
    study = Study.load(quick_study(arm("a"), seeds=[0, 1, 2]), home=home.root)
    digests = set()
    for identity in finish(study):
        (context,) = contexts(home, identity)
        assert context.environment is not None
        digests.add(context.environment["digest"])
    (digest,) = digests
    assert digest == environment_lock()
    assert json.loads(environment_path(home.root, digest).read_bytes()) == environment_pins()
    assert len(list((home.root / "environments").iterdir())) == 1


def test_the_packages_are_those_that_are_installed() -> None:
    own = [entry for entry in sys.path if f"site-packages{os.sep}" not in entry]  # not Ray's inner
    found = distributions(path=own)
    installed = {one.metadata["Name"].lower().replace("_", "-") for one in found}
    assert {"msgspec", "pydantic", "torch"} <= environment_pins().keys()
    assert {name.replace(".", "-") for name in installed} == environment_pins().keys()


def test_every_attempt_says_so_and_all_count_from_the_first_ones_claim(home: Home) -> None:
    mapping = quick_study(arm("a", fault="raise"), seeds=[0], base={"steps": 3, "fault_times": 1})
    (ticket,) = tickets(Study.load(mapping, home=home.root))
    with pytest.raises(AttemptFailed):
        run_attempt(ticket, go_on)
    claim = home.trial(ticket.identity) / "attempt-0000" / "claim.json"
    first = json.loads(claim.read_bytes())["claimed_at_s"]
    run_attempt(ticket, go_on)
    ids = [context.episode_id for context in contexts(home, ticket.identity)]
    assert ids == [f"{ticket.identity}-0000", f"{ticket.identity}-0001"]
    assert first_claimed_at_s(home.trial(ticket.identity)) == first


def test_a_home_that_refuses_the_packages_stops_no_trial(home: Home) -> None:
    Path(home.root / "environments").write_text("a file where the folder should be")
    study = Study.load(quick_study(arm("a"), seeds=[0]), home=home.root)
    (identity,) = finish(study)
    (context,) = contexts(home, identity)
    assert context.environment is not None
    assert context.environment["digest"] == environment_lock()


def test_the_lora_workload_names_its_model_and_its_streams(home: Home) -> None:
    mapping = quick_study(
        arm("a"),
        workload="latent_lora",
        seeds=[5],
        base={
            "model": "embedded:llama", "samples": 32, "epochs": 1, "batch_size": 16, "d_z": 8,
            "test_questions": 8, "dev_questions": 4, "lora": {"rank": 2, "layers": 1},
        },
    )  # fmt: skip
    (identity,) = finish(Study.load(mapping, home=home.root))
    first, second = contexts(home, identity)
    context = first.merged(second)
    assert context.host_architecture == "LlamaForCausalLM"
    assert context.host_params is not None
    assert context.host_params > 100_000
    assert context.max_epochs == 1
    assert context.task_type == "qa"
    assert context.seeds == {
        name: stream_seed(5, name) for name in ("order/0", "adapter/init", "lora/init")
    }
    assert context.torch_seed == stream_seed(5, "adapter/init")
    assert context.facts["device"] == "cpu"
