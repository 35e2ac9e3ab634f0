"""Sweeps: jobs that fail, are done or are stopped; the verbs are stand-ins."""

import signal
from pathlib import Path
from typing import Any

from stand_ins import replace_verbs

from gancli.errors import Interrupted

# Sweeps


def test_a_sweep_goes_on_past_a_failed_job_and_runs_only_that_again(cli, monkeypatch, tmp_path: Path) -> None:
    broken = {2}
    called: list[int] = []

    def call(name: str, cfg: Any, folder: Path) -> dict[str, float]:
        called.append(cfg.seed)
        if cfg.seed in broken:
            raise RuntimeError("boom")
        return {"eval/fid": 10.0 * cfg.seed}

    replace_verbs(monkeypatch, call)
    line = ("train", "seed=1,2,3", "-m", "hydra.sweep.dir=s1", "optimizer.lr=1e-3")
    answer = cli(*line)
    assert answer.code == 1 and called == [1, 2, 3]
    table = answer.out.splitlines()
    header = next(i for i, text in enumerate(table) if text.startswith("seed  state"))
    assert table[header].split() == ["seed", "state", "seconds", "eval/fid", "error", "run"]  # lr does not vary
    assert [text.split()[1] for text in table[header + 1 : header + 4]] == ["done", "failed", "done"]
    rows = (tmp_path / "s1" / "results.csv").read_text().splitlines()
    assert len(rows) == 4 and "RuntimeError: boom" in rows[2]
    assert sorted(p.name for p in (tmp_path / "s1").iterdir() if p.is_dir()) == [
        f"seed={seed},optimizer.lr=0.001" for seed in (1, 2, 3)
    ]
    broken.clear()
    answer = cli(*line)
    assert answer.code == 0 and called == [1, 2, 3, 2]
    assert answer.out.count("is already done") == 2


def test_a_done_job_runs_again_when_its_config_changed(cli, verb, monkeypatch) -> None:
    assert cli("train", "-m", "seed=1", "hydra.sweep.dir=s", "hydra.sweep.subdir=x").code == 0
    assert cli("train", "-m", "seed=2", "hydra.sweep.dir=s", "hydra.sweep.subdir=x").code == 0
    assert [cfg.seed for _, cfg, _ in verb] == [1, 2]


def test_a_job_with_wrong_settings_is_a_failed_job(cli, verb) -> None:
    answer = cli("train", "-m", "batch_size=0,64")
    assert answer.code == 1
    assert "batch_size=0: must be from 1 to" in answer.err
    assert [cfg.batch_size for _, cfg, _ in verb] == [64]


def test_a_signal_ends_the_sweep(cli, monkeypatch) -> None:
    called = []

    def call(name: str, cfg: Any, folder: Path) -> dict[str, float]:
        called.append(cfg.seed)
        raise Interrupted(signal.SIGINT, "saved")

    replace_verbs(monkeypatch, call)
    answer = cli("train", "-m", "seed=1,2")
    assert answer.code == 130 and called == [1]
    assert "interrupted" in answer.out


def test_each_model_of_a_sweep_has_its_own_partners(cli, verb) -> None:
    assert cli("train", "-m", "model=dcgan,mlp_gan").code == 0
    found = {cfg.model._target_.rpartition(".")[2]: cfg.optimizer._target_ for _, cfg, _ in verb}
    assert found == {"DCGAN": "torch.optim.Adam", "MLPGAN": "torch.optim.SGD"}
