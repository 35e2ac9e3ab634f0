"""What can be scored besides one checkpoint, and what stands on the card: pictures, all of a run, seeds, references."""

import csv
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import compose, run
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gancli.data.digits import Digits
from gancli.errors import UsageError
from gancli.metrics import moments
from gancli.metrics.registry import METRICS, choosing, metrics_named
from gancli.training import checkpoint
from gancli.verbs.evaluate.run import evaluate

DIGITS = ["data=digits", "features.epochs=1", "runtime=cpu"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three checkpoints of a run on noise."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANCLI_CACHE", str(tmp_path_factory.mktemp("cache")))
        run(folder, "images=48", "data.n_test=150", "features.epochs=1", "checkpoint.every=16", "checkpoint.keep=9")
    return folder


@pytest.fixture(autouse=True)
def _outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANCLI_OUTPUTS", str(tmp_path / "outputs"))


def score(*overrides: str) -> dict[str, float]:
    return evaluate(compose("eval", list(overrides)))


def newest(folder: Path) -> dict:
    return json.loads(max(folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns).read_text())


def pictures(folder: Path, kind: str = "png", n: int = 60, classes: bool = False) -> tuple[Path, np.ndarray]:
    """Write digits of the training split as files, and return their pixels."""
    split = Digits().split("train")
    for i in range(n):
        place = folder / (str(split.labels[i]) if classes else ".")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(split.pixels[i, 0]).save(place / f"{i:04d}.{kind}")
    return folder, split.pixels[:n]


def test_pictures_of_a_folder_a_zip_and_an_npz_score_the_same(tmp_path) -> None:
    folder, pixels = pictures(tmp_path / "pictures")
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    np.savez(tmp_path / "adm.npz", pixels.transpose(0, 2, 3, 1).repeat(3, 3))  # arr_0, grey as RGB
    np.savez(tmp_path / "ours.npz", images=pixels.transpose(0, 2, 3, 1))
    metrics = "metrics=[fid,precision_recall,memorisation,classes]"  # IS and KID see the order of the files
    found = [score(f"images={tmp_path / name}", metrics, *DIGITS) for name in ("pictures", "pictures.zip", "ours.npz")]
    found.append(score(f"images={tmp_path / 'adm.npz'}", metrics, *DIGITS))
    for each in found[1:]:
        assert each == pytest.approx(found[0], rel=1e-9, abs=1e-9)
    assert found[0]["copy_rate"] == 1 and found[0]["auth_pct"] == 0 and "accuracy" not in found[0]
    card = newest(tmp_path / "outputs" / "images" / "ours")
    assert card["protocol"]["images_generated"] == 60 and card["images"] == str((tmp_path / "ours.npz").resolve())
    assert len(card["protocol"]["images"]) == 64 and "seed" not in card["protocol"]
    assert set(tmp_path.iterdir()) >= {folder} and len(list(folder.iterdir())) == 60  # nothing is written beside them


def test_jpegs_in_colour_are_scored_and_are_other_images(tmp_path) -> None:
    folder, _ = pictures(tmp_path / "jpeg", "jpg")
    values = score(f"images={folder}", "metrics=[memorisation]", *DIGITS, "data.channels=3")
    assert values["copy_rate"] < 0.1


def test_class_folders_give_accuracy_when_they_are_named_as_the_classes(tmp_path) -> None:
    folder, _ = pictures(tmp_path / "named", classes=True)
    right = score(f"images={folder}", "metrics=[classes]", *DIGITS[:1], "runtime=cpu", "features.epochs=8")
    assert right["accuracy"] > 0.8 and right["modes"] == 10
    for i, name in enumerate("9012345678"):
        (folder / name).rename(folder / f"x{i}")
    assert "accuracy" not in score(f"images={folder}", "metrics=[classes]", *DIGITS)


def test_two_folders(tmp_path) -> None:
    """The reference is a folder like any other data; a folder against itself has no distance."""
    folder, _ = pictures(tmp_path / "a", classes=True)
    other = ["data=folder", f"data.root={folder}", "data.test=0", "data.validation=0", "split=train", "runtime=cpu"]
    values = score(
        f"images={folder}", *other, "metrics=[fid,precision_recall]", "features=classifier", "features.epochs=1"
    )
    assert values["fid"] < 1e-4 and values["precision"] == values["recall"] == 1


def test_the_grid_beside_sampled_pictures_is_none_of_them(tmp_path) -> None:
    folder, _ = pictures(tmp_path / "sampled", n=12)
    Image.new("L", (80, 80)).save(folder / "grid.png")
    score(f"images={folder}", "metrics=[memorisation]", *DIGITS)
    assert newest(tmp_path / "outputs" / "images" / "sampled")["protocol"]["images_generated"] == 12


def test_pictures_against_unlabelled_data_take_inception_features(tmp_path, monkeypatch) -> None:
    folder, _ = pictures(tmp_path / "a", n=20)
    monkeypatch.setenv("GANCLI_INCEPTION", "/no/such/weights.pth")
    with pytest.raises(UsageError, match="/no/such/weights.pth"):
        score(f"images={folder}", "data=folder", f"data.root={folder}", "runtime=cpu", "n=12", "metrics=[fid]")


def test_the_command_line_takes_paths_that_hydra_would_not(cli, tmp_path) -> None:
    folder, _ = pictures(tmp_path / "my (pictures), all", n=12)
    answer = cli("eval", f"images={folder}", "data=digits", "metrics=[fid]", "features.epochs=1", "runtime=cpu")
    assert answer.code == 0 and "FID" in answer.out, answer.err


def test_all_checkpoints_make_a_curve(trained) -> None:
    last = score(f"ckpt='{trained}'", "which=all", "runtime=cpu", "metrics=[fid,kid]", "n=50")
    (file,) = (trained / "eval").glob("curve-test-classifier-*.csv")
    rows = list(csv.DictReader(file.open()))
    assert [int(row["images"]) for row in rows] == [16, 32, 48]
    assert {key: float(value) for key, value in rows[-1].items() if key != "images"} == last
    one = checkpoint.numbered(trained)[1]
    alone = score(f"ckpt='{one}'", "runtime=cpu", "metrics=[fid,kid]", "n=50")
    assert alone == {key: float(value) for key, value in rows[1].items() if key != "images"} and alone != last
    events = EventAccumulator(str(trained)).Reload().Scalars("eval/test-classifier-fid")
    assert {event.step for event in events} == {16, 32, 48}
    assert len(list((trained / "eval").glob("*.json"))) == 3
    picture = np.asarray(Image.open(file.with_suffix(".png")).convert("RGB")).astype(int)
    assert picture.shape[1] > 2 * picture.shape[0]  # FID and KID, side by side
    blue = np.abs(picture - (0, 114, 178)).sum(2) < 30  # the curve, in both panels
    assert blue[:, : picture.shape[1] // 2].sum() > 200 and blue[:, picture.shape[1] // 2 :].sum() > 200


def test_repeated_seeds_are_folded_and_their_spread_is_told(trained) -> None:
    each = [score(f"ckpt='{trained}'", "runtime=cpu", "metrics=[fid]", "n=40", f"seed={s}")["fid"] for s in (5, 6, 7)]
    found = score(f"ckpt='{trained}'", "runtime=cpu", "metrics=[fid]", "n=40", "seed=5", "repeats=3")
    assert found["fid"] == pytest.approx(np.mean(each), rel=1e-12)
    spread = newest(trained / "eval")["spread"]["fid"]
    assert spread == pytest.approx({"std": np.std(each, ddof=1), "low": min(each), "high": max(each)}, rel=1e-9)


def test_the_noise_floor_stands_on_the_card_and_can_be_left_away(trained, capsys) -> None:
    score(f"ckpt='{trained}'", "runtime=cpu", "metrics=[fid,is]", "n=100")
    floor = newest(trained / "eval")["floor"]
    assert floor["images"] == 75 and floor["values"].keys() == {"fid", "is", "is_std"}
    assert "real against real" in capsys.readouterr().out
    score(f"ckpt='{trained}'", "runtime=cpu", "metrics=[fid,is]", "n=100", "floor=false", "seed=1")
    assert newest(trained / "eval")["floor"] == {}
    assert "real against real" not in capsys.readouterr().out


def test_reference_statistics_travel_and_pytorch_fid_reads_them(trained, tmp_path) -> None:
    common = [f"ckpt='{trained}'", "runtime=cpu", "metrics=[fid]", "n=60"]
    direct = score(*common, f"save_reference={tmp_path / 'real.npz'}")
    with np.load(tmp_path / "real.npz") as file:
        assert file["mu"].shape == (128,) and file["sigma"].shape == (128, 128) and file["n"] == 150
        np.savez(tmp_path / "theirs.npz", mu=file["mu"], sigma=file["sigma"])  # as pytorch-fid --save-stats writes
    assert score(*common, f"reference={tmp_path / 'real.npz'}") == direct
    card = newest(trained / "eval")["protocol"]
    assert card["images_reference"] == 150 and len(card["reference_statistics"]) == 64
    assert score(*common, f"reference={tmp_path / 'theirs.npz'}") == pytest.approx(direct, rel=1e-6)
    assert newest(trained / "eval")["protocol"]["images_reference"] is None
    assert moments.load(tmp_path / "theirs.npz").n == moments.UNKNOWN


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([], "ckpt is missing; add ckpt="),
        (["images=x", "ckpt=y"], "one of them"),
        (["images=x"], "data=mnist"),
        (["images=/no/such", *DIGITS], "/no/such"),
        (["images=x", "save_reference=y", "metrics=[is]", *DIGITS], "add fid"),
        (["ckpt=x", "repeats=0"], "repeats=0"),
        (["images=x", "reference=/no/file.npz", *DIGITS], "reference=/no/file.npz"),
    ],
)
def test_what_makes_no_sense_is_one_line(overrides, words) -> None:
    with pytest.raises(UsageError, match=words) as error:
        score(*overrides)
    assert "\n" not in str(error.value)


def test_a_damaged_or_foreign_npz_is_refused(tmp_path) -> None:
    for name, arrays, words in (
        ("float", {"images": np.zeros((5, 8, 8, 1), np.float32)}, "uint8"),
        ("nothing", {"pictures": np.zeros((5, 8, 8, 1), np.uint8)}, "images or arr_0"),
        ("labels", {"images": np.zeros((5, 8, 8, 1), np.uint8), "labels": np.zeros(4)}, "one per image"),
        ("big", {"images": np.zeros((20, 16, 16, 1), np.uint8)}, "data.size=16"),
    ):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        with pytest.raises(UsageError, match=words):
            score(f"images={tmp_path / name}.npz", *DIGITS)
    (tmp_path / "torn.npz").write_bytes(os.urandom(50))
    with pytest.raises(UsageError, match="cannot be read"):
        score(f"images={tmp_path / 'torn.npz'}", *DIGITS)
    with pytest.raises(UsageError, match="n=30.*holds 20"):
        np.savez(tmp_path / "few.npz", images=np.zeros((20, 8, 8, 1), np.uint8))
        score(f"images={tmp_path / 'few.npz'}", "n=30", *DIGITS)


def test_the_order_of_pictures_does_not_make_a_score(tmp_path) -> None:
    split = Digits().split("train")
    rows = np.argsort(split.labels, kind="stable")  # sorted by class, as many samplers write them
    images = split.pixels[rows].transpose(0, 2, 3, 1)
    np.savez(tmp_path / "sorted.npz", images=images)
    np.savez(tmp_path / "mixed.npz", images=images[np.random.RandomState(5).permutation(len(images))])
    words = [*DIGITS, "features=classifier", "metrics=[is,fid]", "n=100", "bootstrap=0"]
    one, two = (score(f"images={tmp_path / name}.npz", *words) for name in ("sorted", "mixed"))
    assert one["is"] == pytest.approx(two["is"], rel=0.2) and one["fid"] == pytest.approx(two["fid"], rel=0.4)


def test_any_single_value_may_choose_the_best_checkpoint(tmp_path) -> None:
    settings = ["images=32", "eval.every=16", "eval.split=test", "eval.n=20", "features.epochs=1"]
    run(tmp_path / "kid", *settings, "eval.metrics=[fid,kid]", "eval.best=kid", "data.n_test=150")
    kept = torch.load(tmp_path / "kid" / "checkpoints" / "best.pt", weights_only=True)["metrics"]["best"]
    lines = [json.loads(line) for line in (tmp_path / "kid" / "metrics.jsonl").read_text().splitlines()]
    assert kept == min(line["eval/kid"] for line in lines if "eval/kid" in line)
    with pytest.raises(UsageError, match="precision_recall is not a single value.*allowed: precision, recall$"):
        run(tmp_path / "none", *settings, "eval.metrics=[precision_recall]", "eval.best=precision_recall")
    assert METRICS["kid"].values["kid"] is False
    also = {"all_right": True}
    assert choosing("recall", metrics_named(["fid", "precision_recall"]), also) == {"recall": True}
    assert choosing("all_right", metrics_named(["fid"]), also) == also
    assert next(iter(choosing("nll", metrics_named(["nll"]), {}))) == "nll"  # or what of it is measured
    for wrong, said in (("recal", "did you mean 'recall'"), ("kid_std", "allowed: kid, precision, recall$")):
        with pytest.raises(UsageError, match=said):
            choosing(wrong, metrics_named(["kid", "precision_recall"]), {})
