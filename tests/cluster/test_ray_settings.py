"""What is set for a Ray of several hosts, and how this host's address is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import ClusterError
from cluster.own_address import own_address
from cluster.ray_settings import (
    environment_with,
    in_environment,
    network_settings,
    ray_environment,
)
from cluster.reaching import host_and_port
from cluster.slurm.settings import SlurmSettings
from tests.conftest import ROOT


def test_a_slow_network_multiplies_every_limit() -> None:
    quick, slow = network_settings(), network_settings(4.0)
    assert quick.keys() == slow.keys()
    for name, value in quick.items():
        if name != "RAY_health_check_failure_threshold":
            assert int(slow[name]) == 4 * int(value), name
    assert quick["RAY_grpc_client_keepalive_time_ms"] == "5000"
    assert quick["RAY_health_check_timeout_ms"] == "2000"


READ = """
import json
from pathlib import Path
from ray._raylet import Config
from cluster.ray_settings import in_environment, ray_environment
def read():
    return [
        Config.grpc_client_keepalive_time_ms(), Config.grpc_client_keepalive_timeout_ms(),
        Config.health_check_period_ms(), Config.health_check_timeout_ms(),
        Config.health_check_failure_threshold(),
    ]
before = read()
with in_environment(ray_environment(Path("/tmp/none"))):
    within = read()
print(json.dumps([before == read(), before != within, within]))
"""


def test_rays_native_part_reads_the_settings_and_forgets_them() -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert json.loads(done.stdout) == [True, True, [5000, 5000, 1000, 2000, 3]], done.stderr


def test_what_another_cluster_left_in_the_shell_is_not_passed_on_and_comes_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("cluster.ray_settings.read_environment_again", lambda: None)
    monkeypatch.setenv("RAY_ADDRESS", "10.1.2.3:4")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "theirs")
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    changes = ray_environment(tmp_path / "token")
    child = environment_with(changes)
    assert "RAY_ADDRESS" not in child
    assert "RAY_AUTH_TOKEN" not in child
    assert child["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "token")
    with pytest.raises(KeyError), in_environment(changes):
        raise KeyError
    assert os.environ["RAY_ADDRESS"] == "10.1.2.3:4"
    assert os.environ["RAY_AUTH_TOKEN"] == "theirs"
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ


def test_the_address_is_the_one_given_else_one_that_others_reach() -> None:
    assert own_address(SlurmSettings(head_address="127.0.0.1")) == "127.0.0.1"
    with pytest.raises(ClusterError, match="'no host' is no address"):
        own_address(SlurmSettings(head_address="no host"))


def test_the_address_is_that_of_the_interface_towards_the_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    sinfo = tmp_path / "sinfo"
    sinfo.write_text("#!/bin/sh\necho 127.0.0.1\necho 198.51.100.77\n")
    sinfo.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.77", 9))
        except OSError:
            pytest.skip("this host has no route to others")
        assert own_address(SlurmSettings()) == probe.getsockname()[0]


@pytest.mark.parametrize("text", ["", "host", "host:", ":6379", "host:none", "host:0", "h:70000"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        host_and_port(text)


def test_addresses_in_parts() -> None:
    assert host_and_port("login.cluster:6379") == ("login.cluster", 6379)
    assert host_and_port("[::1]:6379") == ("::1", 6379)
