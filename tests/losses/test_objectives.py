"""The table of all objectives: which rows there are, that each trains, and that one command makes them all."""

import csv
from pathlib import Path

import pytest
import yaml
from helpers import SIZES, SMALL

from gancli.config import compose, conf_dir, to_yaml
from gancli.losses.fgan import DIVERGENCES
from gancli.losses.relativistic import COSTS
from gancli.training.build import build
from gancli.training.loop import train

ROWS = sorted(path.stem for path in (conf_dir() / "objective").glob("*.yaml"))
TINY = [*SMALL, *SIZES["dcgan"], "eval.every=0", "samples.every=0"]


def test_the_rows_are_all_losses_variants_and_divergences():
    wanted = {"minimax", "nonsaturating", "lsgan", "hinge", "wasserstein_clipping", "wasserstein_penalty", *COSTS}
    assert set(ROWS) == wanted | {f"fgan_{name}" for name in DIVERGENCES}


def test_rows_differ_in_their_objective_and_what_it_needs():
    """Networks, images, seeds and scores are the same in all rows; what may differ is named here."""
    losses, plain = set(), None
    for name in ROWS:
        cfg = to_yaml(compose("train", ["experiment=objectives", f"objective={name}", "data=fake"]))
        values = yaml.safe_load(cfg)
        assert (values["images"], values["model"]["width"], values["eval"]["split"]) == (200_000, 16, "test")
        assert (values["model"].pop("discriminator_norm") == "none") == (name == "wasserstein_penalty")
        losses.add(str(values.pop("loss")))
        del values["optimizer"], values["clip"]
        plain = plain or values
        assert values == plain
    assert len(losses) == len(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_every_row_trains_without_a_caution(name, tmp_path):
    cfg = compose("train", ["experiment=objectives", f"objective={name}", "images=48", *TINY])
    assert build(cfg).warnings() == []
    assert all(abs(value) < 100 for value in train(cfg, tmp_path).values())


def test_one_command_trains_the_table(cli):
    answer = cli("train", "-m", "experiment=objectives", "objective=minimax,fgan_kl", "seed=0,1", "images=16", *TINY)
    assert answer.code == 0, answer.err
    (table,) = Path("outputs/sweep").glob("*/results.csv")
    found = list(csv.DictReader(table.open()))
    assert {(row["objective"], row["seed"], row["state"]) for row in found} == {
        (objective, seed, "done") for objective in ("minimax", "fgan_kl") for seed in ("0", "1")
    }
    everything = cli("train", "-m", "experiment=objectives", "objective=glob(*)", *TINY, "batch_size=0")
    assert everything.err.count("batch_size=0") == len(ROWS)  # refused before any work
