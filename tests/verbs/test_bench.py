"""gancli bench: the table, the files, what is compared, and what is refused in one line."""

import json

import pytest
import torch
from helpers import compose, overrides

from gancli import folders
from gancli.errors import UsageError
from gancli.verbs.bench import work
from gancli.verbs.bench.run import bench, compared

QUICK = [*(word for word in overrides("dcgan") if not word.startswith("samples.")), "seconds=0.001"]
QUICK_OF_ANY = [word for word in QUICK if not word.startswith("model")]
PLAIN = ["penalty=[]", "loss=nonsaturating"]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(work.SIDES, "cpu", 16)
    monkeypatch.setitem(work.BYTES, "cpu", 1024)


def test_table_and_files(cli, tmp_path) -> None:
    compare = "compare=[bare,textbook,runtime.precision=bf16]"
    answer = cli("bench", *QUICK, *PLAIN, compare, "profile=true")
    assert answer.code == 0, answer.err
    (folder,) = (tmp_path / "outputs" / "bench" / "fake-dcgan").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["bench.json", "gancli.pt.trace.json"]
    found = json.loads((folder / "bench.json").read_text())
    ways = set(found["rounds"])
    assert ways - {"textbook, 2 workers"} == {"gancli", "bare", "textbook, 0 workers", "runtime.precision=bf16"}
    assert ways - {"gancli"} == set(found["compare"]) and all(len(each) == 5 for each in found["rounds"].values())
    turn, asked = found["turn"], found["work"]
    assert list(turn["phases"]) == ["data", "discriminator", "generator", "ema", "scalars", "rest"]
    assert sum(turn["phases"].values()) == pytest.approx(turn["seconds"]) and turn["images"] == 8
    assert min(turn["phases"].values()) >= 0
    assert asked["images"] == 8 and asked["kernels"] is None and min(asked["operators"], asked["bytes"]) > 100
    assert asked["flops_share"] == pytest.approx(asked["flops_per_s"] / found["ceilings"]["flops"])
    assert 0 < found["memory"]["peak"] < found["memory"]["total"]
    assert found["config"]["model"]["width"] == 4 and found["machine"]["precision"] == "fp32"
    events = json.loads((folder / "gancli.pt.trace.json").read_text())["traceEvents"]
    ranges = [each["name"] for each in events if each.get("cat") == "user_annotation"]
    assert ranges.count("data") == ranges.count("ema") == 10  # the host's part, and the device's
    assert ranges.count("discriminator") == 15  # rates, what is due, and the update
    for said in ("images/s", "discriminator", "of a large copy", "peak memory", "times as many", str(folder)):
        assert said in answer.out


def test_a_ratio_is_the_median_of_those_of_the_rounds() -> None:
    rounds = {"gancli": [10.0, 20.0, 90.0], "bare": [5.0, 20.0, 30.0]}
    assert compared(rounds) == {"bare": {"images_per_s": 20.0, "ratio": 2.0}}


REFUSED = [
    (["compare=bar"], "expected bare, textbook, or other values"),
    (["compare=3"], "expected words"),
    (["compare=bare", "loss=hinge", "loss.repeat=2"], "add loss=nonsaturating loss.repeat=1"),
    (["compare=bare", "penalty=r1"], "add 'penalty=[]'"),
    (["compare=textbook", "model=cgan"], "CGAN has them"),
    (["compare=textbook", "model=pixelcnn", "data.binarise=dynamic"], "PixelCNN is something else"),
    (["compare=textbook", "batch_size=128"], "take a smaller batch_size"),
    (["compare='batch_size=-8'"], "batch_size=-8: must be"),
    (["compare='model.witdh=8'"], "model.witdh: no such key; did you mean 'width'?"),
    (["compare='model=mlp_gan'"], "only single values"),
    (["compare='runtime.threads=1'"], "holds for the whole process"),
    (["model=kde"], "KDE is fitted to the data at once"),
    (["rounds=4"], "must be from 5"),
    (["experiment=lecture/dirac_gan"], "a lecture draws a figure"),
]


@pytest.mark.parametrize("words, says", REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_what_cannot_be_measured(tmp_path, words, says) -> None:
    own = QUICK if not any(word.startswith("model=") for word in words) else QUICK_OF_ANY
    with pytest.raises(UsageError) as caught:
        bench(compose("bench", [*own, *words]), tmp_path)
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_keys_without_effect_are_refused_in_one_line(cli, tmp_path) -> None:
    for word in ("resume=latest", "eval.every=8"):
        answer = cli("bench", *QUICK, word)
        assert answer.code == 2 and answer.err.count("\n") == 1 and "only training is measured" in answer.err
    answer = cli("bench", *QUICK, "compare=[bare,runtime.threads=2]")
    assert answer.code == 2 and answer.err.count("\n") == 1 and "compare=runtime.threads=2: " in answer.err
    assert not [each for each in tmp_path.rglob("*") if each.is_file()]


@pytest.mark.parametrize("model", ["vae", "wgan_gp"])
def test_every_family_has_its_own_phases(cli, tmp_path, model) -> None:
    """A critic's five updates are one phase of a turn, which sees five batches."""
    words = [word for word in overrides(model) if not word.startswith("samples.")]
    answer = cli("bench", *words, "seconds=0.001", *(["data.binarise=dynamic"] if model == "vae" else []))
    assert answer.code == 0, answer.err
    (file,) = tmp_path.glob("outputs/bench/*/*/bench.json")
    turn = json.loads(file.read_text())["turn"]
    assert turn["images"] == (40 if model == "wgan_gp" else 8)
    assert len(turn["phases"]) == (6 if model == "wgan_gp" else 5)


def test_a_sweep_ends_with_a_table(cli, tmp_path) -> None:
    answer = cli("bench", "-m", *(word for word in QUICK if not word.startswith("batch")), "batch_size=4,8")
    assert answer.code == 0, answer.err
    assert "images_per_s" in answer.out and len(list(tmp_path.glob("outputs/sweep/*/*/bench.json"))) == 2


def test_the_groups_are_those_of_train() -> None:
    """In the same order, which decides what overrides what."""

    def chosen(verb: str) -> list[str]:
        text = (folders.conf_dir() / f"{verb}.yaml").read_text().partition("defaults:\n")[2].partition("\n\n")[0]
        return [line.partition("#")[0].strip().replace(verb, "") for line in text.splitlines()]

    assert chosen("bench") == chosen("train") and len(chosen("train")) > 15


def test_memory_errors_are_one_line(cli, monkeypatch) -> None:
    from gancli.training.step import Step

    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity of")

    monkeypatch.setattr(Step, "compute", full)
    answer = cli("bench", *QUICK)
    said = "out of memory with batch_size=8; try batch_size=4, or accumulate=2 for the same updates"
    assert answer.code == 2 and answer.err == f"gancli: {said}\n"
