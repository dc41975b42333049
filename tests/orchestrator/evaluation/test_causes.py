"""What is said of a worker that Ray has lost."""

from __future__ import annotations

from orchestrator.evaluation.pool import MOST_SAID, _cause


def test_an_error_in_the_workers_own_making_is_told_as_itself() -> None:
    said = (
        "The actor died because of an error raised in its creation task, "
        "\x1b[36mray::PointWorker.__init__()\x1b[39m (pid=1, ip=127.0.0.1)\n"
        '  File "actor.py", line 13, in __init__\n'
        "    import shapiq\n"
        "    ^^^^^^^^^^^^^\n"
        "ModuleNotFoundError: No module named\n'shapiq'"
    )
    assert _cause(RuntimeError(said)) == "ModuleNotFoundError: No module named 'shapiq'"


def test_a_process_that_died_is_told_without_rays_names_and_advice() -> None:
    said = (
        "The actor died unexpectedly before finishing this task.\n\tclass_name: PointWorker\n"
        "\tnamespace: f4d4ed53-e1a3-4fb1\n\tip: 127.0.0.1\nThe actor is dead because its worker "
        "process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker unexpectedly "
        "exits with a connection error code 2. Some common causes include: (1) the OOM killer"
    )
    assert _cause(RuntimeError(said)) == (
        "The actor is dead because its worker process has died. Worker unexpectedly exits with a "
        "connection error code 2."
    )


def test_a_long_cause_ends_with_a_whole_word() -> None:
    told = _cause(RuntimeError("word " * 200))
    assert len(told) <= MOST_SAID
    assert told.endswith("word …")
