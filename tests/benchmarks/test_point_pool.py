"""Points on warm workers, against one Ray task for each point and against Ray Tune.

Compared is the share of the workers' time that goes into measuring: other load on the machine makes
points slower, but moves the share little.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.evaluation.actor import PointWorker
from orchestrator.evaluation.pool import Pool
from orchestrator.evaluation.stage import _Keeping, _work
from orchestrator.home import Home
from tests.benchmarks.measuring import tell
from tests.orchestrator.evaluation.games import game_study
from tests.orchestrator.quick_study import finish

WORKERS = 2
POINT_S = 0.005
"""How long a point computes."""
TASKS = 128
TRIALS = 8


def test_4096_points_on_two_workers(ray_session: Any, home: Home) -> None:
    import ray

    arms = {
        "first": {"players": 2, "work_s": POINT_S},
        "second": {"players": 3, "work_s": POINT_S},
        "whole": {"players": 12, "work_s": POINT_S},
    }
    study = game_study(home, arms, {"full": True})
    finish(study)
    *warm, whole = (_work(study, plan) for plan in study.plan().subjects)
    pool = Pool(WORKERS, {"num_cpus": 1})
    with _Keeping(study, [*warm, whole], print, lambda done, total, per_s: None, None) as keeping:
        pool.run(warm, keeping)  # each starts a worker
        busy_s = pool.stats.busy_s
        began = time.perf_counter()
        pool.run([whole], keeping)
        wall_s = time.perf_counter() - began
        busy_s = pool.stats.busy_s - busy_s
        pool.stop()
    assert study.plan().open_subjects == ()
    (folder,) = (home.root / "subjects").glob(f"{whole.spec.subject}/points-1")

    share = busy_s / (WORKERS * wall_s)
    packed = ray.put(PointWorker().pack(whole.spec)[1])
    of_tasks, of_tune = _share_of_tasks(whole, packed), _share_of_tune(whole, packed)
    figures = {
        "points": 4096,
        "point_ms": POINT_S * 1000,
        "workers": WORKERS,
        "share_of_workers_time": share,
        "points_per_s": 4096 / wall_s,
        "share_with_a_task_per_point": of_tasks,
        "share_with_ray_tune": of_tune,
        "against_a_task_per_point": share / of_tasks,
        "against_ray_tune": share / of_tune,
        "files": len(list(folder.glob("part-*"))),
        "bytes_per_point": sum(p.stat().st_size for p in folder.glob("part-*")) / 4096,
    }
    tell("point_pool", figures)
    assert figures["share_of_workers_time"] >= 0.9
    assert figures["against_a_task_per_point"] > 1
    assert figures["against_ray_tune"] > 1


def _share_of_tasks(work: Any, packed: Any) -> float:
    """Each task maps the subject from the object store, opens it, and measures one point."""
    import ray

    @ray.remote(num_cpus=1)
    def one(spec: Any, packed: Any, point: Any) -> Any:
        worker = PointWorker()
        worker.open(spec, "", packed)
        return worker.measure([point])

    points = work.asked.points[:TASKS]
    ray.get([one.remote(work.spec, packed, point) for point in points[:4]])
    began = time.perf_counter()
    chunks = ray.get([one.remote(work.spec, packed, point) for point in points])
    wall_s = time.perf_counter() - began
    return sum(chunk.seconds for chunk in chunks) / (WORKERS * wall_s)


def _share_of_tune(work: Any, packed: Any) -> float:
    """Each point is a trial of Ray Tune, with workers used again."""
    import ray
    from ray import tune

    points = list(work.asked.points[:TRIALS])

    class One(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            self.worker = PointWorker()
            self.worker.open(work.spec, "", ray.get(packed))
            self.point = config["point"]

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.point = new_config["point"]
            return True

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """There is nothing to save."""

        def step(self) -> dict[str, Any]:
            chunk = self.worker.measure([json.loads(self.point)])
            return {"seconds": chunk.seconds, "done": True}

    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    scratch = tempfile.mkdtemp()
    began = time.perf_counter()
    try:
        results = tune.Tuner(
            tune.with_resources(One, {"CPU": 1}),
            param_space={"point": tune.grid_search([json.dumps(dict(p)) for p in points])},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(
                storage_path=scratch,
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    wall_s = time.perf_counter() - began
    return sum(result.metrics["seconds"] for result in results) / (WORKERS * wall_s)


@pytest.mark.parametrize("subjects", [7])
def test_100000_points_are_few_files(home: Home, subjects: int) -> None:
    """Of seven models with 16,384 points each; measured in this process, read back whole."""
    from orchestrator.evaluation.tables import point_table
    from tests.orchestrator.evaluation.games import measure_here

    arms = {"whole": {"players": 14, "examples": 360}}
    study = game_study(home, arms, {"full": True}, seeds=list(range(subjects)))
    finish(study)
    began = time.perf_counter()
    measured = measure_here(study)
    measured_s = time.perf_counter() - began
    began = time.perf_counter()
    plan = study.plan()
    plan_s = time.perf_counter() - began
    began = time.perf_counter()
    assert point_table(study, study.trials()[0]).complete
    table_s = time.perf_counter() - began
    parts = list((home.root / "subjects").rglob("part-*.parquet"))
    assert plan.open_subjects == ()
    assert len(parts) == subjects
    tell(
        "points_on_disk",
        {
            "points": measured,
            "examples": 360,
            "files": len(parts),
            "mib": sum(Path(part).stat().st_size for part in parts) / 2**20,
            "measured_s": measured_s,
            "plan_of_a_finished_study_s": plan_s,
            "table_of_one_model_s": table_s,
        },
    )
