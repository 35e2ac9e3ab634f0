"""What a resumed run says, and what it cannot be given."""

from pathlib import Path

import pytest

from gancli import config

TINY = ["model=mlp_gan", "model.generator_hidden=4", "model.discriminator_hidden=4", "data=fake", "data.n=64",
        "data.size=8", "batch_size=16", "runtime=cpu", "samples.every=0", "doctor.every=0"]  # fmt: skip


@pytest.fixture
def run(cli) -> Path:
    assert cli("train", *TINY, "images=32").code == 0
    (found,) = Path("outputs").glob("*/*")
    return found


def test_a_resumed_run_says_from_where_and_what_differs(cli, run: Path) -> None:
    assert cli("train", "resume=latest", "images=64", "optimizer.lr=0.5", "clip=1").code == 0
    (line,) = (line for line in (run / "log.txt").read_text().splitlines() if "resumed from" in line)
    assert "000000000032.pt at 32 images" in line
    assert all(
        each in line for each in ("images=64 (saved: 32)", "optimizer.lr=0.5 (saved: ", "clip=1.0 (saved: null)")
    )
    assert "batch_size" not in line and "resume=" not in line and "seed" not in line


def test_without_changes_it_says_so(cli, run: Path) -> None:
    cli("train", "resume=latest", "images=64")
    cfg = config.from_yaml((run / "config.yaml").read_text())
    assert config.differences(cfg, cfg) == []
    assert config.differences({"a": {"b": 1}, "c": True}, {"a": {"d": [1]}, "c": False}) == [
        "a.b=null (saved: 1)", "c=false (saved: true)", "a.d=[1] (saved: null)",
    ]  # fmt: skip


@pytest.mark.parametrize("word, said", [("seed=3", "goes on with the random numbers"), ("+seed=3", "")])
def test_a_seed_means_nothing_to_a_resumed_run(cli, run: Path, word: str, said: str) -> None:
    answer = cli("train", "resume=latest", "images=64", word)
    assert answer.code == 2 and said in answer.err
    assert not list(run.glob("checkpoints/*64.pt"))
