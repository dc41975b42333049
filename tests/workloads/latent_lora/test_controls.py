"""Constant answers, mismatched questions, and tokens snapped to their codes."""

from __future__ import annotations

import torch

from workloads.latent_lora import scoring
from workloads.latent_lora.controls import best_constant, mismatch, snap
from workloads.latent_lora.pca import fit_pca


def test_the_best_constant_is_a_common_answer_or_common_words() -> None:
    answers = [["in the garden"]] * 3 + [["in the barn"]] * 2 + [["Tom"]]
    assert best_constant(answers, scoring.exact_match) == "in the garden"
    # Normalised: "in" stands in five answers, "garden" in three.
    assert scoring.words(best_constant(answers, scoring.f1)) == ("in", "garden")


def test_a_mismatched_question_comes_from_another_cluster() -> None:
    clusters = ["s1"] * 4 + ["s2"] * 4 + ["s3"] * 2
    chosen = mismatch(clusters)
    assert all(clusters[i] != clusters[j] for i, j in enumerate(chosen))


def test_a_mismatched_question_is_the_nearest_before_it_of_another_cluster() -> None:
    clusters = ["s1", "s1", "s2", "s2", "s1", "s3"]
    assert mismatch(clusters) == [2, 2, 1, 1, 3, 4]


def test_asking_more_questions_changes_no_earlier_pair() -> None:
    clusters = [f"s{i // 3}" for i in range(30)]
    whole = mismatch(clusters)
    for count in range(4, len(clusters)):
        assert mismatch(clusters[:count]) == whole[:count]


def test_a_single_cluster_still_gives_another_question() -> None:
    assert all(i != j for i, j in enumerate(mismatch(["s"] * 5)))


def test_snapping_returns_the_same_tokens_where_codes_tell_them_apart() -> None:
    table = torch.randn(40, 16, generator=torch.Generator().manual_seed(2))
    pca = fit_pca(table, torch.ones(40).double(), 4)
    ids = torch.randint(0, 40, (3, 9))
    assert torch.equal(snap(ids, table, pca), ids)
