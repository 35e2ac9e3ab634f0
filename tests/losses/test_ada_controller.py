"""ADA's controller: by hand, its threshold, and what a checkpoint keeps of it."""

import pytest
import torch
from helpers import run, tensors

from gancli.losses.adversarial import LSGAN
from gancli.losses.augmentation import ADA
from gancli.training import checkpoint


def test_the_controller_by_hand():
    """Batches of 10, a change every two: steps of 20 / 100, up while more than 80 % are called real, never below 0."""
    ada = ADA(target=0.6, speed=100, interval=2)
    right = [10, 9, 10, 10, 8, 8, 0, 0, 5, 5, 10, 10]  # of ten real images
    ps, rs = [], []
    for n in right:
        score = torch.cat([torch.ones(n), -torch.ones(10 - n)])
        said = ada.observe(score)
        ps.append(round(said["ada/p"].item(), 6))
        rs.append(round(said["ada/r"].item(), 6))
    assert rs == [1, 0.9, 1, 1, 0.6, 0.6, -1, -1, 0, 0, 1, 1]
    assert ps == [0, 0.2, 0.2, 0.4, 0.4, 0.4, 0.4, 0.2, 0.2, 0, 0, 0.2]
    for _ in range(20):
        ada.observe(torch.ones(10))
    assert ada.p.item() == 1  # and no further
    for _ in range(30):
        ada.observe(-torch.ones(10))
    assert ada.p.item() == 0


def test_the_controller_looks_at_scores_above_the_threshold():
    seen = []
    ada = ADA()
    ada.observe = lambda score: seen.append(score) or {}
    LSGAN(stabilizers={"ada": ada}).statistics(torch.tensor([0.4, 0.9]), torch.zeros(2))
    assert seen[0].tolist() == pytest.approx([-0.1, 0.4])


def test_the_probability_is_recorded_saved_and_resumed(tmp_path):
    on = ["stabilizer=ada", "loss.stabilizers.ada.speed=100", "loss.stabilizers.ada.target=-1", "checkpoint.every=40"]
    run(tmp_path / "whole", "images=120", *on)
    run(tmp_path / "parts", "images=40", *on)  # five updates: one change, and one update towards the next
    run(tmp_path / "parts", "images=120", f"resume={tmp_path / 'parts'}", *on)
    whole, parts = (tensors(checkpoint.load(tmp_path / name).state) for name in ("whole", "parts"))
    assert [k for k in whole if not torch.equal(whole[k], parts[k])] == []
    p = whole["loss.stabilizers.ada.p"].item()
    assert p == pytest.approx(min(1, 12 // 4 * 32 / 100))
    assert '"discriminator/ada/p"' in (tmp_path / "whole" / "metrics.jsonl").read_text()
