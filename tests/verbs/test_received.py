"""Run folders and reference files of strangers, through the verbs: ``pytest tests/verbs/test_received.py``."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import compose, run
from PIL import Image

from gancli.data.digits import Digits
from gancli.errors import UsageError
from gancli.metrics import moments
from gancli.verbs.evaluate.run import evaluate

SCORED = ["metrics=[fid]", "n=20", "floor=false", "features.epochs=1", "runtime=cpu"]


@pytest.fixture(scope="module")
def received(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("received") / "run"
    words = ["images=32", "data.binarise=fixed_seed", "data.n_test=40", "checkpoint.every=16", "features.epochs=1"]
    run(folder, *words, model="pixelcnn")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


VERBS = {
    "sample": ["n=2", "runtime=cpu"],
    "eval": SCORED,
    "complete": ["image=[0]", "n=1", "runtime=cpu"],
    "train": ["images=48", "runtime=cpu"],
}
PLACES = {
    "sample": ["samples"],
    "eval": ["eval"],
    "complete": ["completions"],
    "train": ["samples", "checkpoints", "eval", "metrics.jsonl", "log.txt", ".lock", "machine.json", "samples/run.gif"],
}


@pytest.mark.parametrize(("verb", "place"), [(verb, place) for verb in VERBS for place in PLACES[verb]])
def test_nothing_is_written_through_the_links_of_a_run_folder(cli, received, tmp_path, verb, place) -> None:
    folder, home = tmp_path / "run", tmp_path / "home"
    shutil.copytree(received, folder)
    home.mkdir()
    target = home / Path(place).name
    if (folder / place).exists():
        shutil.move(folder / place, target)
    elif "." in place:
        target.write_text("precious")
    else:
        target.mkdir()
    (folder / place).symlink_to(target)
    before = contents(home)
    key = "resume" if verb == "train" else "ckpt"
    answer = cli(verb, f"{key}={folder}", *VERBS[verb])
    assert contents(home) == before
    assert answer.code == 2 and "remove that link" in answer.err and len(answer.err.strip().splitlines()) == 1


def test_nor_where_the_folder_is_typed(cli, received, tmp_path) -> None:
    shutil.copytree(received, tmp_path / "run")
    (tmp_path / "home").mkdir()
    (tmp_path / "run" / "mine").symlink_to("../home")
    for verb in ("sample", "complete"):
        answer = cli(verb, f"ckpt={tmp_path / 'run'}", *VERBS[verb], "out=run/mine/new")
        assert answer.code == 2 and "remove that link" in answer.err
        assert cli(verb, f"ckpt={tmp_path / 'run'}", *VERBS[verb], f"out=run/{verb}").code == 0
        assert cli(verb, f"ckpt={tmp_path / 'run'}", *VERBS[verb], f"out=home/{verb}").code == 0  # the user's own
    assert sorted(each.name for each in (tmp_path / "home").iterdir()) == ["complete", "sample"]


def test_a_run_folder_may_be_reached_by_a_link(cli, received, tmp_path) -> None:
    shutil.copytree(received, tmp_path / "run")
    (tmp_path / "link").symlink_to("run")
    for verb, words in VERBS.items():
        answer = cli(verb, f"{'resume' if verb == 'train' else 'ckpt'}={tmp_path / 'link'}", *words)
        assert answer.code == 0, answer.err


def test_long_names_of_pictures_and_masks_make_no_folder_that_cannot_be(cli, received, tmp_path) -> None:
    picture = tmp_path / ("x" * 245 + ".png")
    Image.new("L", (8, 8), 255).save(picture)
    answer = cli("complete", f"ckpt={received}", f"image={picture}", f"mask={picture}", "n=1", "runtime=cpu")
    assert answer.code == 0, answer.err


# reference=

D = 128  # features of the classifier


def good() -> dict[str, np.ndarray]:
    x = np.random.RandomState(0).randn(500, D)
    return {"mu": x.mean(0), "sigma": np.cov(x.T), "n": np.int64(500)}


def changed(name: str, index: tuple[int, ...], value: float) -> dict[str, np.ndarray]:
    arrays = good()
    arrays[name][index] = value
    return arrays


REFERENCES = {
    "nan": (lambda: changed("mu", (3,), np.nan), "mu .* more than finite numbers"),
    "infinite": (lambda: changed("sigma", (3, 3), np.inf), "sigma .* more than finite numbers"),
    "not square": (lambda: good() | {"sigma": np.eye(D)[:-1]}, r"mu has the shape \(128,\) and sigma \(127, 128\)"),
    "a vector": (lambda: good() | {"sigma": np.ones(D)}, "and sigma"),
    "a matrix": (lambda: good() | {"mu": np.ones((1, D))}, "mu has the shape"),
    "scalars": (lambda: {"mu": np.array(1.0), "sigma": np.array(1.0)}, "mu has the shape"),
    "negative": (lambda: good() | {"sigma": -np.eye(D)}, "negative eigenvalues"),
    "indefinite": (lambda: changed("sigma", (5, 5), -1e-2), "negative eigenvalues"),
    "asymmetric": (lambda: changed("sigma", (5, 6), 3.0), "not symmetric"),
    "text": (lambda: {"mu": np.array(["a"] * D), "sigma": np.eye(D)}, "mu .* more than finite numbers"),
    "complex": (lambda: {"mu": np.ones(D) * 1j, "sigma": np.eye(D)}, "mu .* more than finite numbers"),
    "smaller": (lambda: {"mu": np.zeros(64), "sigma": np.eye(64)}, "mean has 64 features and those of .* have 128"),
    "larger": (lambda: {"mu": np.zeros(2048), "sigma": np.eye(2048)}, "mean has 2048 features"),
    "one image": (lambda: good() | {"n": np.int64(1)}, "n, the number of images, is 1"),
    "many numbers": (lambda: good() | {"n": np.arange(3)}, "n, the number of images"),
    "no mu": (lambda: {"mean": np.zeros(D), "sigma": np.eye(D)}, "no mu and sigma"),
}


@pytest.mark.parametrize("kind", REFERENCES)
def test_a_reference_that_is_none_is_refused_and_no_number_printed(cli, tmp_path, kind) -> None:
    make, says = REFERENCES[kind]
    np.savez(tmp_path / "pictures.npz", images=Digits().split("train").pixels[:30].transpose(0, 2, 3, 1))
    np.savez(tmp_path / "r.npz", **make())
    words = [f"images={tmp_path / 'pictures.npz'}", f"reference={tmp_path / 'r.npz'}", "data=digits"]
    with pytest.raises(UsageError, match=says) as error:
        evaluate(compose("eval", [*words, "features=classifier", *SCORED]))
    assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("content", [b"mu sigma", b"", b"PK\3\4", b"\x93NUMPY\1\0"])
def test_a_reference_that_is_no_npz_is_refused(cli, tmp_path, content) -> None:
    (tmp_path / "r.npz").write_bytes(content)
    answer = cli("eval", "images=x", "data=digits", f"reference={tmp_path / 'r.npz'}", "runtime=cpu")
    assert answer.code == 2 and "cannot be read" in answer.err and len(answer.err.strip().splitlines()) == 1


@pytest.mark.parametrize("kind", ["low rank", "constant", "float32", "without n"])
def test_covariances_that_are_some_are_read(tmp_path, kind) -> None:
    x = np.random.RandomState(0).randn(40, 200) @ np.diag(np.logspace(0, -4, 200))
    arrays = {"mu": x.mean(0), "sigma": np.cov(x.T), "n": np.int64(40)}  # of fewer images than features
    if kind == "constant":
        arrays["sigma"] = np.zeros((200, 200))
    if kind == "float32":
        arrays = {name: each.astype(np.float32) for name, each in arrays.items() if name != "n"}
    if kind == "without n":
        del arrays["n"]
    np.savez(tmp_path / "r.npz", **arrays)
    found = moments.load(tmp_path / "r.npz")
    assert found.cov.dtype == np.float64 and found.n == int(arrays.get("n", moments.UNKNOWN))
    assert json.dumps(found.mean.tolist())
