"""Modes of mixtures: against enumeration, and the values that points of the mixture itself get."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import compose
from torch import Tensor

from gancli.data.points import Gaussians1D, Grid, Points, Ring, SwissRoll
from gancli.errors import UsageError
from gancli.metrics.class_balance import kl_uniform
from gancli.metrics.features import Features
from gancli.metrics.points import Coordinates, NearestMode
from gancli.metrics.scorer import Scorer
from gancli.training.loop import train
from gancli.verbs.evaluate.run import evaluate

CPU = torch.device("cpu")


def scored(source: Points, points: Tensor, metrics=("modes",), features: Features | None = None) -> dict[str, float]:
    features = features or NearestMode()
    features.prepare(lambda: source.split("train"), CPU)
    scorer = Scorer(metrics, source.split("test"), features, n=len(points), device=CPU, splits=source.split)
    return scorer.score([(points[:7], None), (points[7:], None)]).values


def at(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows)[..., None, None]


def test_by_hand_on_four_points():
    """std .1, so a mode reaches .3: (0, 0) twice, one of them 2.9 deviations off; (2, 0) once, 3.1 deviations off."""
    source = Grid(side=2, spacing=2.0, std=0.1)  # modes (-1 | 1, -1 | 1)
    found = scored(source, at((-1, -1), (-1, -0.71), (1.31, -1), (9, 9)))
    assert found["modes"] == 1 and found["high_quality"] == 50
    # Nearest modes: (-1, -1) twice, (1, -1) once, (1, 1) once.
    assert found["reverse_kl"] == pytest.approx(math.log(4) + 0.5 * math.log(0.5) + 2 * 0.25 * math.log(0.25))


def test_each_mode_has_its_own_width():
    found = scored(Gaussians1D(means=[0.0, 10.0], stds=[0.1, 4.0]), at((0.2,), (0.5,), (-1.0,), (3.0,)))
    # .2 is 2 deviations from the narrow mode and 2.45 from the wide one; .5 is 5 and 2.4; -1 is 10 and 2.75.
    assert found == {"modes": 2, "high_quality": 100, "reverse_kl": pytest.approx(_kl([1, 3]))}


def _kl(counts: list[int]) -> float:
    p = np.array(counts) / sum(counts)
    return float((p * np.log(p * len(p))).sum())


def test_against_a_loop_over_points_and_modes():
    """As the release of PacGAN goes about it."""
    source = Grid()
    points = 3 * torch.randn(500, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    points[:200] = source.draw(200, torch.Generator().manual_seed(1))[0]
    centres, std = source.modes()
    good, near = [0] * 25, [0] * 25
    for point in points.flatten(1).double().tolist():
        distances = [math.dist(point, centre) / width for centre, width in zip(centres.tolist(), std.tolist())]
        nearest = distances.index(min(distances))
        near[nearest] += 1
        good[nearest] += distances[nearest] < 3
    found = scored(source, points)
    assert found["modes"] == sum(count > 0 for count in good) and found["high_quality"] == 100 * sum(good) / 500
    p = [count / 500 for count in near if count]
    assert found["reverse_kl"] == pytest.approx(sum(x * math.log(25 * x) for x in p))


@pytest.mark.parametrize("source", [Ring(), Grid(), Grid(scale=0.353553)], ids=["ring8", "grid25", "grid25 of gan_toy"])
def test_the_mixture_itself_gets_the_ceilings(source):
    """All modes; 1 - exp(-9/2) = 98.889 % within 3 deviations; KL about (K - 1) / 2n."""
    n = 50_000
    found = scored(source, source.draw(n, torch.Generator().manual_seed(0))[0])
    k = len(source.modes().centres)
    ceiling, error = 1 - math.exp(-4.5), math.sqrt(math.exp(-4.5) / n)
    assert found["modes"] == k
    assert found["high_quality"] / 100 == pytest.approx(ceiling, abs=4 * error)
    spread = math.sqrt(2 * (k - 1)) / (2 * n)  # 2n KL is chi-squared with k - 1 degrees of freedom
    assert found["reverse_kl"] == pytest.approx((k - 1) / (2 * n), abs=4 * spread)


def test_a_far_mode_is_nearest_to_the_last_digit():
    """|x|^2 - 2 x c + |c|^2 in float32 would be off by .01 at a distance of 300, as much as the mode is wide."""
    source = Gaussians1D(means=[300.0, 301.0], stds=[0.01, 0.01])
    assert scored(source, at((300.029,), (300.031,)))["high_quality"] == 50


def test_kl_from_uniform_by_hand():
    assert kl_uniform(torch.tensor([5, 5, 5, 5])) == 0
    assert kl_uniform(torch.tensor([7, 0, 0])) == pytest.approx(math.log(3))
    assert kl_uniform(torch.tensor([3, 1])) == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))


def test_frechet_distance_of_points_is_that_of_their_gaussians():
    """||m1 - m2||^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) in two dimensions, by the eigenvalues of C1 C2."""
    source = SwissRoll()
    points = 2 * torch.randn(300, 2, 1, 1, generator=torch.Generator().manual_seed(0)) + 1
    found = scored(source, points, ("fid",), Coordinates())
    a, b = (np.asarray(x, np.float64).reshape(-1, 2) for x in (points, source.split("test").pixels))
    ca, cb = np.cov(a.T), np.cov(b.T)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb)
    assert found["fid"] == pytest.approx(expected - 2 * np.sqrt(np.linalg.eigvals(ca @ cb)).sum().real, rel=1e-6)


@pytest.mark.parametrize(
    "overrides, says",
    [
        (["data=swiss_roll", "eval.metrics=[modes]", "eval.best=modes"], "modes needs a mixture of modes"),
        (["data=swiss_roll", "features=modes"], "swiss_roll is not a mixture of modes: choose features=points"),
        (["data=ring8", "features=classifier"], "features=classifier do not suit ring8, which are points"),
        (["data=ring8", "features=inception"], "features=inception do not suit ring8, which are points"),
        (["data=digits", "features=points"], "features=points do not suit digits, which are images"),
        (["data=ring8", "eval.metrics=[classes]", "eval.best=classes"], "eval.best=classes|classes needs a classifier"),
        (["data=ring8", "eval.metrics=[modes,parzen]"], "parzen needs 8-bit pixels"),
        (
            ["data=two_moons", "eval.metrics=[fid,is]"],
            "is needs class logits, but features=points of two_moons have none",
        ),
    ],
)
def test_what_does_not_apply_is_refused_in_one_line(overrides, says, tmp_path):
    with pytest.raises(UsageError, match=says) as error:
        train(compose("train", ["model=toy_gan", "runtime=cpu", "images=64", "eval.every=64", *overrides]), tmp_path)
    assert "\n" not in str(error.value)


def test_training_and_eval_give_the_same_scores(tmp_path):
    small = ["model=toy_gan", "model.width=8", "data=ring8", "batch_size=50", "images=200", "eval.every=100"]
    train(compose("train", [*small, "samples.every=0", "runtime=cpu"]), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    curve = [row for row in rows if "eval/modes" in row]
    assert [row["images"] for row in curve] == [100, 200]
    again = compose("eval", [f"ckpt='{tmp_path}'", "split=validation", "metrics=[modes,fid,is]"])
    values = evaluate(again)
    for key in ("modes", "high_quality", "reverse_kl"):
        assert values[key] == pytest.approx(curve[-1][f"eval/{key}"])
    assert len(list((tmp_path / "eval").glob("*-modes.json"))) == 2  # training's own, of other metrics
    (card,) = (tmp_path / "eval").glob("*-modes-*.json")
    facts = json.loads(card.read_text())
    assert facts["floor"]["values"]["modes"] == 8 and 97 < facts["floor"]["values"]["high_quality"] <= 100
    assert facts["protocol"]["modes_deviations"] == 3.0 and facts["protocol"]["features"]["modes"] == 8


def test_eval_scores_a_checkpoint_as_its_training_did_unless_told_otherwise(cli):
    run = ["model=toy_gan", "model.width=8", "data=two_moons", "data.n_test=200", "images=64", "batch_size=32"]
    assert cli("train", *run, "samples.every=0", "runtime=cpu", "hydra.run.dir=run").code == 0
    for more, keys in (([], {"fid"}), (["metrics=[precision_recall]"], {"precision", "recall"})):
        answer = cli("eval", "ckpt=run", "runtime=cpu", *more)
        assert answer.code == 0, answer.err
        newest = max(Path("run/eval").glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        assert json.loads(newest.read_text())["values"].keys() == keys


@pytest.mark.parametrize("penalty", ["[]", "gradient_penalty", "[points/r1,drift]"])
def test_the_recipe_of_points_leaves_the_choice_of_penalties_free(penalty):
    cfg = compose("train", ["model=toy_gan", "data=ring8", f"penalty={penalty}"])
    assert list(cfg.loss.get("penalties", {})) == [
        name for name in penalty.replace("points/", "").strip("[]").split(",") if name
    ]
