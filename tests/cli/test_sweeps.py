"""Sweeps: jobs that fail, are done or are stopped; the verbs are stand-ins."""

import re
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
    assert sorted(p.name for p in (tmp_path / "s1").iterdir() if p.is_dir()) == ["seed-1", "seed-2", "seed-3"]
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


# Their configs


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_configs_of_all_jobs_are_shown_and_nothing_is_run_or_written(cli, verb, tmp_path) -> None:
    line = ("train", "-m", "model=dcgan,mlp_gan", "seed=1,2", "data=digits")
    answer = cli(*line, "--cfg", "job")
    assert (answer.code, answer.err, verb) == (0, "", []) and files(tmp_path) == {}
    jobs = re.split(r"^# job \d: (.*)\n", answer.out, flags=re.M)
    choices = [f"model={model} seed={seed} data=digits" for model in ("dcgan", "mlp_gan") for seed in (1, 2)]
    assert jobs[::2][0] == "" and jobs[1::2] == choices
    for choice, text in zip(choices, jobs[2::2]):
        assert text == cli("train", *choice.split(), "--cfg", "job").out
    node = cli(*line, "epochs=3", "--cfg", "job", "-p", "ema", "--resolve").out
    assert node == "".join(
        f"# job {i}: {choice} epochs=3\n" + cli("train", *choice.split(), "--cfg", "job", "-p", "ema", "--resolve").out
        for i, choice in enumerate(choices)
    )


def test_a_job_whose_config_is_shown_is_checked_as_one_that_is_run(cli, verb, tmp_path) -> None:
    for wrong, says in (
        ("model.width=8,-3", "model.width=-3: must be 1 or more"),
        ("batch_size=64,0", "batch_size=0: must be from 1 to"),
        ("seed=1,2 epochs=3 images=5", "images"),
        ("seed=range(0)", "the sweep has no jobs"),
        ("model.widht=1,2", "did you mean 'width'"),
    ):
        answer = cli("train", "-m", *wrong.split(), "--cfg", "job", "-p", "seed")
        assert answer.code == 2 and says in answer.err and "Traceback" not in answer.err, wrong
        assert answer.out.count("\n0\n") == (wrong[-2:] in ("-3", ",0"))  # the other job is shown
    assert verb == [] and files(tmp_path) == {}


def test_a_sweep_that_is_there_is_not_touched_when_its_configs_are_shown(cli, verb, tmp_path) -> None:
    line = ("train", "-m", "seed=1,2", "hydra.sweep.dir=s", "hydra/launcher=basic")
    assert cli(*line).code == 0
    before = files(tmp_path)
    answer = cli(*line, "batch_size=3", "--cfg", "job")
    assert answer.code == 0 and answer.out.count("batch_size: 3\n") >= 2 and len(verb) == 2
    assert files(tmp_path) == before and "job 0 is already done" in cli(*line).out
