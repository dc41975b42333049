"""What a trial prints goes into its attempt's log, whatever prints it, and nowhere else."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from orchestrator.log_files import earlier_part, log_path, logged_ranks
from tests.conftest import ROOT
from tests.orchestrator.quick_study import environment


def run_code(code: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own, where `attempt` is a folder to capture into."""
    start = (
        "import ctypes, logging, os, subprocess, sys, time\n"
        "from pathlib import Path\n"
        "from orchestrator.engine import output\n"
        f"attempt = Path({str(folder)!r})\n"
    )
    return subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(**variables),
        timeout=60,
    )


def test_the_log_has_what_python_c_logging_and_children_print(tmp_path: Path) -> None:
    done = run_code(
        """
        logging.basicConfig()  # keeps the standard error of before
        print("before")
        with output.captured(attempt, 1):
            print("from Python")
            logging.getLogger("a").warning("from logging")
            ctypes.CDLL(None).puts(b"from C")
            subprocess.run(["echo", "from a child"])
            os.write(2, b"from the descriptor\\n")
        print("after")
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["before", "after"]
    assert done.stderr == ""
    log = log_path(tmp_path, 1).read_text()
    for words in ("from Python", "from logging", "from C", "from a child", "from the descriptor"):
        assert words in log
    assert logged_ranks(tmp_path) == [1]


def test_a_stream_that_others_have_kept_writes_into_the_log_of_its_time(tmp_path: Path) -> None:
    """As a library does that took `sys.stdout` when it was imported: its lines wait in a buffer."""
    done = run_code(
        """
        kept = sys.stdout
        kept.write("before\\n")
        with output.captured(attempt):
            kept.write("meanwhile\\n")
        kept.write("after\\n")
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["before", "after"]
    assert log_path(tmp_path).read_text() == "meanwhile\n"


def test_a_process_that_runs_many_attempts_keeps_no_descriptor_of_them(tmp_path: Path) -> None:
    done = run_code(
        """
        def one(number):
            folder = attempt / str(number)
            folder.mkdir()
            with output.captured(folder):
                print(number)
            return len(os.listdir("/proc/self/fd"))
        counts = [one(number) for number in range(20)]
        assert len(set(counts)) == 1, counts
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_trials_that_follow_each_other_have_logs_of_their_own(tmp_path: Path) -> None:
    done = run_code(
        """
        for name in ("a", "b"):
            (attempt / name).mkdir()
            with output.captured(attempt / name):
                handler = logging.StreamHandler()  # as a library makes it, and keeps it
                logging.getLogger().addHandler(handler)
                print("trial", name, flush=False)
        logging.getLogger().error("between trials")
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert log_path(tmp_path / "a").read_text() == "trial a\n"
    assert log_path(tmp_path / "b").read_text() == "trial b\n"
    assert done.stderr.count("between trials") == 2


def test_the_last_words_of_a_process_that_is_killed_are_kept(tmp_path: Path) -> None:
    done = run_code(
        """
        with output.captured(attempt):
            print("the last line")
            os.kill(os.getpid(), 9)
        """,
        tmp_path,
    )
    assert done.returncode == -9
    assert log_path(tmp_path).read_text() == "the last line\n"


def test_an_error_ends_the_log_with_its_traceback(tmp_path: Path) -> None:
    done = run_code(
        """
        from workloads.contract import TrialStopped
        for number, error in enumerate((ValueError("the walk fell off"), TrialStopped())):
            try:
                with output.captured(attempt, number):
                    raise error
            except BaseException as caught:
                assert caught is error
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert log_path(tmp_path).read_text().splitlines()[-1] == "ValueError: the walk fell off"
    assert "output.py" not in log_path(tmp_path).read_text()
    assert log_path(tmp_path, 1).read_text() == ""  # it was told to stop: no error


def test_a_log_without_end_is_begun_anew_and_its_newest_part_stays(tmp_path: Path) -> None:
    done = run_code(
        """
        output.MOST_BYTES, output.LOOK_EVERY_S = 10_000, 0.02
        with output.captured(attempt):
            for number in range(5000):
                print("line", number)
                time.sleep(0.0005)
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    newest, before = log_path(tmp_path), earlier_part(log_path(tmp_path))
    lines = (before.read_text() + newest.read_text()).splitlines()
    assert lines[-1] == "line 4999"
    assert lines == [f"line {n}" for n in range(5000 - len(lines), 5000)]
    assert len(lines) < 5000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a full disk")
def test_a_full_disk_does_not_stop_a_trial_that_prints(tmp_path: Path) -> None:
    path = log_path(tmp_path)
    path.parent.mkdir()
    path.symlink_to("/dev/full")
    done = run_code(
        """
        with output.captured(attempt):
            print("out")
            print("err", file=sys.stderr)
        print("went on")
        """,
        tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, "went on\n"), done.stderr


def test_without_a_folder_to_write_in_output_goes_where_it_went(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("in the way")
    done = run_code("with output.captured(attempt):\n    print('said')", tmp_path)
    assert (done.returncode, done.stdout) == (0, "said\n")
    assert "cannot be kept" in done.stderr
