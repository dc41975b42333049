"""What a lab is made of, without building one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import state
from tests.lab.__main__ import main
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.layout import MOST_NODES, Layout, hosts, slurm_conf


def layout(network: int, count: int = 3) -> Layout:
    return Layout("some", network, Path("/tmp/orrery-lab-some"), count, "machine")


def test_two_labs_share_no_address_port_or_device() -> None:
    one, another = layout(0, MOST_NODES), layout(255, MOST_NODES)
    for lab in (one, another):
        addresses = [lab.address, *(node.address for node in lab.nodes)]
        assert len(set(addresses)) == MOST_NODES + 1
        assert all(len(node.port_name) <= 15 for node in lab.nodes), "Linux takes 15 characters"
    assert not {node.address for node in one.nodes} & {node.address for node in another.nodes}
    assert not {node.port_name for node in one.nodes} & {node.port_name for node in another.nodes}
    ports = [
        next(line for line in slurm_conf(lab).splitlines() if line.startswith("SlurmctldPort"))
        for lab in (one, another)
    ]
    assert ports == ["SlurmctldPort=20000", "SlurmctldPort=20255"]


def test_slurm_and_every_node_know_where_the_others_are() -> None:
    lab = layout(7)
    said = slurm_conf(lab)
    known = hosts(lab).splitlines()
    assert "SlurmctldHost=machine(198.18.7.1)" in said
    assert "198.18.7.1 machine login" in known
    for node in lab.nodes:
        assert f"NodeName={node.name} NodeHostname={node.name} NodeAddr={node.address}" in said
        assert f"{node.address} {node.name}" in known


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "x" * 31])
def test_a_name_that_is_no_folder_is_refused(name: str) -> None:
    with pytest.raises(LabError, match="no name of a lab"):
        Lab(name)


@pytest.mark.parametrize("nodes", [0, MOST_NODES + 1])
def test_too_few_or_too_many_nodes_are_refused(nodes: int) -> None:
    with pytest.raises(LabError, match="1 to 100 nodes"):
        Lab("some", nodes)


@pytest.mark.parametrize("words", [["cut", "n1"], ["status"], ["env"], ["run", "n1", "--", "ls"]])
def test_a_lab_that_is_not_up_is_one_clear_line(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(state, "ROOT", tmp_path)
    separated = words.index("--") if "--" in words else len(words)
    asked = [*words[:separated], "--name", "absent", *words[separated:]]
    assert main(asked) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: no lab 'absent' is up (there are: none)")
    assert "up --name absent" in said
    assert main(["down", "--name", "absent"]) == 0, "taking down what is not there is no error"
