"""Commands on an earlier run: what is resumed, what eval takes from a checkpoint; the verbs are stand-ins."""

from pathlib import Path

import pytest

from gancli import config
from gancli.cli import status

# Resume and checkpoints


def test_resume_takes_the_run_as_it_was_and_what_is_typed_now(cli, verb) -> None:
    assert cli("train", "model=mlp_gan", "model.pieces=3", "data=mnist", "runtime.threads=1", "trust=[abc]").code == 0
    run = verb[0][2]
    answer = cli("train", f"resume={run}", "images=3M", "runtime=cpu")
    assert answer.code == 0
    _, cfg, folder = verb[1]
    assert folder == run and cfg.resume == str(run)
    assert cfg.model == verb[0][1].model and cfg.model.pieces == 3 and cfg.data == verb[0][1].data
    assert cfg.optimizer == verb[0][1].optimizer
    assert (cfg.images, cfg.runtime.device, cfg.runtime.threads) == (3_000_000, "cpu", None)
    assert cfg.trust == []  # a saved config cannot vouch for itself
    assert status.read(run)["choices"]["model"] == "mlp_gan"


def test_resume_latest_and_the_same_groups_typed_again(cli, verb) -> None:
    cli("train", "model=dcgan", "model.width=8")
    cli("train", "model=mlp_gan", "model.pieces=3")
    assert cli("train", "resume=latest", "model=mlp_gan", "schedule=linear").code == 0
    assert verb[2][2] == verb[1][2]
    assert verb[2][1].model.pieces == 3
    assert verb[2][1].schedule == {
        "_target_": "gancli.training.schedules.Linear",
        "start": 0.5,
        "end": 0.0,
        "warmup": 0,
    }


@pytest.mark.parametrize(
    "typed, says",
    [
        ("model=dcgan", "a resumed run keeps its model (mlp_gan)"),
        ("data=mnist", "a resumed run keeps its data (digits)"),
        ("experiment=x", "a resumed run keeps its experiment"),
        ("optimizer._target_=torch.optim.AdamW", "optimizer._target_: a resumed run keeps its optimizer"),
        ("optimizer.lrr=1", "did you mean 'lr'?"),
        ("imags=1", "did you mean 'images'?"),
    ],
)
def test_what_a_resumed_run_cannot_change(cli, verb, typed: str, says: str) -> None:
    cli("train", "model=mlp_gan", "optimizer=adam")
    run = verb[0][2]
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    answer = cli("train", f"resume={run}", typed)
    assert answer.code == 2 and says in answer.err and len(answer.err.splitlines()) == 1
    assert len(verb) == 1
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_saved_config_cannot_set_up_hydra_or_bring_keys(cli, verb, tmp_path: Path) -> None:
    cli("train")
    run = verb[0][2]
    callback = "hydra:\n  callbacks:\n    evil:\n      _target_: builtins.open\n      file: evil.txt\n      mode: w\n"
    with (run / "config.yaml").open("a") as file:
        file.write(callback + "strange: 1\n")
    assert cli("train", f"resume={run}").code == 0
    assert "strange" not in verb[1][1] and not (tmp_path / "evil.txt").exists()


def test_eval_has_data_and_features_of_the_checkpoint(cli, verb) -> None:
    cli("train", "data=mnist", "data.validation=0.1")
    run = verb[0][2]
    assert cli("eval", f"ckpt={run}", "data.root=/elsewhere").code == 0
    cfg = verb[1][1]
    assert (cfg.data.root, cfg.data.validation, cfg.features) == ("/elsewhere", 0.1, verb[0][1].features)
    assert cli("eval", "ckpt=latest", "features=inception").code == 0
    cfg = verb[2][1]
    assert cfg.ckpt == str(run.relative_to(Path.cwd())) or cfg.ckpt == str(run)
    assert cfg.features._target_.endswith("Inception") and cfg.data == verb[0][1].data
    assert cli("eval", f"ckpt={run}", "data=cifar10").code == 0
    cfg = verb[3][1]
    assert cfg.data == config.compose("train", ["data=cifar10"]).data
    assert status.read(run)["verb"] == "train"  # eval does not overwrite the run's own


def test_several_checkpoints_are_asked_for_their_own_config(cli, verb) -> None:
    cli("train")
    cli("train", "data=mnist")
    runs = [folder for _, _, folder in verb]
    assert cli("eval", "-m", f"ckpt={runs[0]},{runs[1]}").code == 0
    assert [cfg.ckpt for _, cfg, _ in verb[2:]] == [str(run) for run in runs]
    assert all(cfg.data is None and cfg.features is None for _, cfg, _ in verb[2:])
    assert cli("eval", "-m", f"ckpt={runs[1]}", "n=10,20").code == 0
    assert [cfg.data for _, cfg, _ in verb[4:]] == [verb[1][1].data] * 2
