"""Launchers and sweepers of others: real ones where they are installed, what a job gives them, and their signals."""

import csv
import signal
from importlib import import_module

import pytest
from stand_ins import replace_verbs
from written_runs import make_run

from gancli.cli import status
from gancli.cli.launcher import pool
from gancli.errors import Interrupted

LAUNCHERS = {
    "joblib": ["hydra.launcher.n_jobs=2"],
    "submitit_local": [],
    "ray": ["+hydra.launcher.ray.init.num_cpus=2", "+hydra.launcher.ray.init.include_dashboard=false"],
}


@pytest.mark.parametrize("name", LAUNCHERS)
def test_jobs_run_in_processes_of_another_launcher(cli, tmp_path, name: str, monkeypatch) -> None:
    """Two jobs that need no torch: the alarms of a run each."""
    pytest.importorskip(f"hydra_plugins.hydra_{name.partition('_')[0]}_launcher")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    for run in ("one", "two"):
        make_run(tmp_path / run)
    answer = cli("doctor", "-m", "runs=one,two", f"hydra/launcher={name}", *LAUNCHERS[name], "hydra.sweep.dir=both")
    assert answer.code == 0, answer.out + answer.err
    with (tmp_path / "both" / "results.csv").open() as file:
        found = list(csv.DictReader(file))
    assert [(row["runs"], row["state"]) for row in found] == [("one", "done"), ("two", "done")]
    assert "2 jobs; table: " in answer.out
    if name == "joblib":  # its workers wait for more
        import_module("joblib.externals.loky").get_reusable_executor().shutdown(wait=True)


def test_a_job_gives_sweepers_its_score_also_when_it_is_done_already(cli, monkeypatch) -> None:
    from hydra.core.plugins import Plugins

    Plugins.instance()  # which loads the module of the sweeper anew, once in a process
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    returned: list[list[object]] = []
    sweeps = BasicSweeper.sweep

    def sweep(self, arguments):
        found = sweeps(self, arguments)
        returned.append([job.return_value for job in found[0]])
        return found

    monkeypatch.setattr(BasicSweeper, "sweep", sweep)
    replace_verbs(monkeypatch, lambda name, cfg, folder: {"eval/fid": 10.0 * cfg.seed} if cfg.seed else {})
    line = ("train", "-m", "data=fake", "model=mlp_gan")
    assert cli(*line, "seed=1,2,0", "hydra.sweep.dir=s").code == 0
    assert cli(*line, "seed=1,2,0", "hydra.sweep.dir=s", "hydra/launcher=gancli").code == 0  # none is started
    assert returned == [[10.0, 20.0, None]] * 2

    def start(self, folder, facts, task) -> None:
        status.write(folder, facts | {"state": "done", "metrics": {"eval/fid": 7.0}})

    monkeypatch.setattr(pool.Pool, "start", start)
    assert cli(*line, "seed=3,4", "hydra.sweep.dir=t", "launcher.slots=2").code == 0
    assert returned[2] == [7.0, 7.0]


def test_a_cluster_s_signal_is_handed_on_once_the_run_is_saved(cli, monkeypatch, tmp_path) -> None:
    """submitit requeues then; its handler was there before the job."""
    states: list[str] = []

    def requeue(signum, frame) -> None:
        assert signum == signal.SIGUSR2
        states.append(status.read(tmp_path / "s" / "seed-1")["state"])
        raise SystemExit(64)

    def call(name, cfg, folder):
        raise Interrupted(signal.SIGUSR2, "saved")

    replace_verbs(monkeypatch, call)
    before = signal.signal(signal.SIGUSR2, requeue)
    try:
        answer = cli("train", "-m", "seed=1,2", "hydra.sweep.dir=s", "data=fake", "model=mlp_gan")
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert answer.code == 64 and states == ["interrupted"]
