"""hydra/launcher=submitit_slurm against a SLURM of four shell scripts, which stops a job once and requeues it."""

import os
import stat
from importlib import import_module

import pytest
from helpers import overrides

from gancli.cli import status
from gancli.structure import read_rows

# A job is started by sbatch, and again by scontrol; srun signals the first one as soon as it has a checkpoint.
JOB = 'SLURM_JOB_ID=7 setsid bash "$SLURM/script" >> "$SLURM/log" 2>&1 &\n'
PROGRAMS = {
    "sbatch": f'cp "$1" "$SLURM/script"\n{JOB}echo "Submitted batch job 7"\n',
    "scontrol": f'echo "$@" >> "$SLURM/asked"\n{JOB}',
    "sacct": 'state=RUNNING; [ -e "$SLURM/lost" ] && state=FAILED\necho "JobID|State|NodeList"; echo "7|$state|n1"\n',
    "srun": """while [[ $1 == -* ]]; do [[ $1 == --output || $1 == --error ]] && shift; shift; done
first=true; [ -e "$SLURM/asked" ] && first=false
"$@" &
if $first; then
    until compgen -G "$SLURM/sweep/*/checkpoints/*.pt" > /dev/null; do kill -0 $! || break; sleep 0.02; done
    kill -USR2 $!
fi
wait $! || { $first && [ -e "$SLURM/asked" ]; } || touch "$SLURM/lost"
""",
}
# What SLURM tells a job of one process.
TOLD = {"NTASKS": "1", "JOB_NUM_NODES": "1", "NODEID": "0", "PROCID": "0", "LOCALID": "0", "JOB_NODELIST": "n1"}


def test_a_job_that_a_cluster_stops_is_saved_requeued_and_resumed(cli, tmp_path, monkeypatch) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    monkeypatch.setattr(import_module("submitit").SlurmJob.watcher, "_delay_s", 1)  # and not ten minutes
    (tmp_path / "bin").mkdir()
    for name, text in PROGRAMS.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/bash\n{text}")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM", str(tmp_path))
    for name, value in TOLD.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    short = ["images=1200", "log.every=40", "checkpoint.every=40", "samples.every=0", "eval.every=0", "doctor.every=0"]
    words = [*overrides("dcgan", *short), "hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=30"]
    answer = cli("train", "-m", "seed=3", *words, "hydra.sweep.dir=sweep")
    log = (tmp_path / "log").read_text()
    assert answer.code == 0 and "1 job; table: " in answer.out, answer.out + answer.err + log

    script = (tmp_path / "script").read_text().splitlines()
    assert {"#SBATCH --signal=USR2@120", "#SBATCH --time=30", "#SBATCH --open-mode=append"} <= {*script}
    assert script[-1].startswith("srun ") and "submitit.core._submit" in script[-1]
    assert (tmp_path / "asked").read_text() == "requeue 7\n"

    (run,) = (file.parent for file in tmp_path.glob(f"sweep/*/{status.NAME}"))
    found = status.read(run)
    assert found["state"] == "done" and found["before"] == "interrupted" and "seed=3" in found["overrides"]
    assert "resumed from" in (run / "log.txt").read_text() and "goes on" in log
    images = [row["images"] for row in read_rows(run / "metrics.jsonl")]
    assert images == sorted(set(images)) and images[-1] == 1200
