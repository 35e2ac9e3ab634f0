"""Evaluation end to end on a tiny run: the right numbers, the whole protocol, nothing lost and nothing late."""

import io
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import compose, run
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gancli import console
from gancli.data.fake import FakeImages
from gancli.errors import UsageError
from gancli.metrics.classifier import Classifier
from gancli.metrics.fid import few, frechet_distance
from gancli.metrics.scorer import Scorer
from gancli.metrics.scoring import samples
from gancli.models.dcgan import DCGAN
from gancli.models.sampling import draw
from gancli.training import checkpoint
from gancli.verbs.evaluate import run as evaluate

CPU = torch.device("cpu")


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What gancli's log says, whoever set it up."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger("gancli").addHandler(handler)
    yield lines
    logging.getLogger("gancli").removeHandler(handler)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANCLI_CACHE", str(tmp_path_factory.mktemp("cache")))
        run(folder, "images=64", "data.n_test=150", "features.epochs=1")
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, so that no test sees another's results."""
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def evaluated(folder: Path, *overrides: str) -> dict[str, float]:
    return evaluate.evaluate(compose("eval", [f"ckpt='{folder}'", "runtime=cpu", *overrides]))


def results(folder: Path) -> dict[str, dict]:
    return {file.name: json.loads(file.read_text()) for file in sorted((folder / "eval").iterdir())}


def parts(folder: Path, n_test: int = 150) -> tuple:
    model = checkpoint.rebuild(folder)
    data = FakeImages(n=60, n_test=n_test, size=8, channels=1)
    features = Classifier(epochs=1)
    features.prepare(lambda: data.split("train"), CPU)
    return model, data.split("test"), features


def score(model, reference, features, *, n, seed=0, batch_size=64, device=CPU, metrics=("fid", "is")):
    scorer = Scorer(metrics, reference, features, n=n, batch_size=batch_size, device=device, splits={}.__getitem__)
    return scorer.score(draw(model, n, seed=seed, batch_size=batch_size)).values


def test_values_equal_a_slow_twin(folder) -> None:
    model, reference, features = parts(folder)
    found = evaluated(folder, "n=130", "seed=3", "batch_size=32")
    images = torch.cat([each for each, _ in draw(model, 130, seed=3, batch_size=32)])
    (x, logits), (real, _) = features(images), features(torch.from_numpy(reference.pixels))
    x, real = x.double().numpy(), real.double().numpy()
    expected = frechet_distance(x.mean(0), np.cov(x.T), real.mean(0), np.cov(real.T))
    p = logits.double().softmax(1).split(13)
    scores = [(q * (q.log() - q.mean(0).log())).sum(1).mean().exp().item() for q in p]
    assert found["fid"] == pytest.approx(expected, rel=1e-6) and expected > 0.01
    assert found["is"] == pytest.approx(np.mean(scores), rel=1e-9)
    assert found["is_std"] == pytest.approx(np.std(scores), rel=1e-6)


def test_the_file_holds_values_and_the_whole_protocol(folder) -> None:
    values = evaluated(folder, "seed=4")
    ((name, result),) = results(folder).items()
    assert name == "000000000064-classifier.json" and result["values"] == values
    assert result["images_seen"] == 64 and Path(result["checkpoint"]) == checkpoint.find(folder).resolve()
    assert result["seconds"] >= 0 and result["date"][:2] == "20"
    facts = result["protocol"]
    assert facts["images_generated"] == facts["images_reference"] == 150  # n: the split's size
    assert (facts["dataset"], facts["split"], facts["resolution"]) == ("fake", "test", [1, 8, 8])
    assert facts["fingerprint"] == FakeImages(n=60, n_test=150, size=8, channels=1).split("test").fingerprint
    assert (facts["seed"], facts["batch_size"], facts["ema"], facts["is_splits"]) == (4, 64, True, 10)
    assert facts["device"] == "cpu" and facts["precision"] == "float32" and facts["metrics"] == ["fid", "is"]
    assert facts["features"]["name"] == "classifier" and len(facts["features"]["weights_sha256"]) == 64
    assert len(facts["checkpoint_sha256"]) == 64 and facts["versions"]["torch"] == torch.__version__.partition("+")[0]


def test_the_same_protocol_is_rewritten_another_never(folder) -> None:
    first = evaluated(folder)
    kept = (folder / "eval" / "000000000064-classifier.json").read_bytes()
    assert evaluated(folder) == first and len(results(folder)) == 1
    kept = (folder / "eval" / "000000000064-classifier.json").read_bytes()
    for change in ("seed=1", "split=train", "n=100", "metrics=[fid]", "ema=false", "batch_size=32"):
        evaluated(folder, change)
    found = results(folder)
    assert len(found) == 7
    assert (folder / "eval" / "000000000064-classifier.json").read_bytes() == kept
    assert evaluated(folder, "seed=1") != first and evaluated(folder, "ema=false") != first
    assert len(results(folder)) == 7
    assert all(name.startswith("000000000064-classifier") for name in found)


def test_training_leaves_the_card_that_eval_writes(tmp_path) -> None:
    """Of the same weights, latents and real images; eval adds the checkpoint's hash and what real images get."""
    words = ("images=64", "data.n_test=150", "features.epochs=1", "eval.every=32", "eval.split=test", "eval.n=40")
    run(tmp_path, *words, "seed=3")
    first = results(tmp_path)
    assert set(first) == {"000000000032-classifier.json", "000000000064-classifier.json"}
    trained = first["000000000064-classifier.json"]
    evaluated(tmp_path, "n=40")
    after = results(tmp_path)
    assert set(after) == set(first) and after["000000000032-classifier.json"] == first["000000000032-classifier.json"]
    card = after["000000000064-classifier.json"]
    assert card["floor"] and not trained["floor"]
    assert card["values"] == pytest.approx(trained["values"], rel=1e-6)
    assert card["protocol"] | {"checkpoint_sha256": None} == trained["protocol"]


def test_a_file_that_is_not_ours_is_not_written_over(folder) -> None:
    torn = folder / "eval" / "000000000064-classifier.json"
    torn.parent.mkdir()
    torn.write_text('{"values": {"fid"')
    evaluated(folder)
    assert torn.read_text() == '{"values": {"fid"' and len(list(torn.parent.iterdir())) == 2


def test_cached_reference_statistics_change_no_bit(folder, tmp_path, monkeypatch, logged) -> None:
    monkeypatch.setenv("GANCLI_CACHE", str(tmp_path / "cache"))
    model, reference, features = parts(folder)
    settings = {"n": 50, "seed": 0, "batch_size": 16, "device": CPU, "metrics": ["fid"]}
    first = score(model, reference, features, **settings)
    (cached,) = (tmp_path / "cache" / "moments").iterdir()
    blind = replace(reference, pixels=np.zeros((150, 0, 0, 0), np.uint8))  # would fail if looked at
    assert score(model, blind, features, **settings) == first
    cached.write_bytes(cached.read_bytes()[:100])
    assert score(model, reference, features, **settings) == first
    assert "damaged" in str(logged)
    other = replace(reference, fingerprint="other", pixels=255 - reference.pixels)
    assert score(model, other, features, **settings) != first


def test_nothing_is_drawn_before_everything_that_can_fail(folder, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(samples, "draw", lambda *args, **kwargs: pytest.fail("drew images"))
    monkeypatch.setattr(
        torch.hub, "download_url_to_file", lambda *args, **kwargs: (_ for _ in ()).throw(OSError("offline"))
    )
    for overrides, words in (
        (["features=inception"], ("features.weights=FILE", "features=classifier", "offline")),
        (["features=inception", "features.weights=/no/file"], ("/no/file",)),
        (["metrics=[fid,fidd]"], ("'fidd'", "did you mean 'fid'", "fid, is")),
        (["metrics=[]"], ("empty",)),
        (["n=9"], ("n=9", "n=10")),
        (["n=1", "metrics=[fid]"], ("n=1", "n=2")),
        (["data=fake", "data.size=16", "data.channels=3"], ("16x16 RGB", "8x8 grey", "data.size=8 data.channels=1")),
        (
            ["data=fake", "data.size=8", "data.channels=1", "data.num_classes=0", "features=classifier"],
            ("features=inception",),
        ),
        (["ckpt=/no/run"], ("/no/run",)),
    ):
        with pytest.raises(UsageError) as error:
            evaluated(folder, *overrides)
        assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)
    assert not (folder / "eval").exists()


def test_a_split_too_small_for_the_score_is_refused_before_a_classifier_is_trained(folder, monkeypatch) -> None:
    monkeypatch.setattr(Classifier, "prepare", lambda *args: pytest.fail("trained"))
    with pytest.raises(UsageError, match="n=9"):
        evaluated(folder, "data=fake", "data.size=8", "data.channels=1", "data.n_test=9", "features.epochs=1")


def test_the_number_of_workers_changes_nothing(folder) -> None:
    fake = ("data=fake", "data.size=8", "data.channels=1", "data.n=60", "data.n_test=150")
    streaming = (*fake, "data.resident=false", "data.workers=4")
    assert evaluated(folder, "metrics=[fid]", *streaming) == evaluated(folder, "metrics=[fid]", *fake, "data.workers=0")
    assert len(results(folder)) == 1  # of the same protocol


def test_only_the_metrics_asked_for(folder) -> None:
    assert evaluated(folder, "metrics=[fid]").keys() == {"fid"}
    assert evaluated(folder, "metrics=[is]").keys() == {"is", "is_std"}


def test_tensorboard_gets_the_scores_of_a_run(folder) -> None:
    values = evaluated(folder)
    events = EventAccumulator(str(folder)).Reload()
    (event,) = events.Scalars("eval/test-classifier-fid")
    assert event.step == 64 and event.value == pytest.approx(values["fid"])
    assert {"eval/test-classifier-is", "eval/test-classifier-is_std"} <= set(events.Tags()["scalars"])


def test_a_lone_file_keeps_its_result_beside_it(folder, tmp_path) -> None:
    lone = tmp_path / "elsewhere" / "model.pt"
    lone.parent.mkdir()
    shutil.copy(checkpoint.find(folder), lone)
    evaluated(lone)
    assert {p.name for p in lone.parent.iterdir()} == {"model.pt", "eval"}


def test_the_score_repeats_and_leaves_the_random_state_alone(folder) -> None:
    model, reference, features = parts(folder)
    before = torch.get_rng_state()
    settings = {"n": 40, "batch_size": 16, "device": CPU}
    first = score(model, reference, features, seed=0, **settings)
    assert torch.equal(torch.get_rng_state(), before)
    assert score(model, reference, features, seed=0, **settings) == first
    assert score(model, reference, features, seed=1, **settings) != first


def test_few_images_are_warned_of_once(folder, logged) -> None:
    model, reference, features = parts(folder)
    scorer = Scorer(["fid"], reference, features, n=100, device=CPU, splits={}.__getitem__)
    for seed in range(2):
        scorer.score(draw(model, 100, seed=seed, batch_size=64))
    assert str(logged).count("FID of 100 images") == 1 and "singular" in str(logged)


@pytest.mark.parametrize(
    ("n", "dim", "warned"), [(1279, 128, True), (1280, 128, False), (9999, 2048, True), (20_480, 2048, False)]
)
def test_when_few_is_few(n, dim, warned) -> None:
    assert bool(few(n, dim)) == warned and "singular" not in str(few(n, dim))


def test_as_many_images_as_features_have_a_singular_covariance() -> None:
    assert "singular" in few(64, 64) and "singular" not in few(65, 64)


def test_the_command_prints_a_table(cli, folder) -> None:
    answer = cli("eval", f"ckpt={folder}", "runtime=cpu", "metrics=[fid,is]")
    assert answer.code == 0, answer.err
    assert "FID" in answer.out and "150 images against 150 of fake test" in " ".join(answer.out.split())
    value = results(folder)["000000000064-classifier.json"]["values"]["fid"]
    assert f"{value:.4f}" in answer.out


def test_progress_is_a_bar_on_a_terminal_and_few_lines_elsewhere(monkeypatch, logged) -> None:
    text = io.StringIO()
    monkeypatch.setattr(console, "console", Console(file=text, force_terminal=True, width=80))
    with console.watched() as watch:
        watch("reference images", 50, 100)
        watch("generated images", 100, 100)
    assert "reference images" in text.getvalue() and "50%" in text.getvalue() and "100%" in text.getvalue()
    monkeypatch.setattr(console, "console", Console(file=text, force_terminal=False))
    clock = iter([0, 5, 12, 12, 15])  # started, first, second and its note, third
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    logging.getLogger("gancli").setLevel(logging.INFO)
    with console.watched() as watch:
        for done in (1000, 2000, 3000):
            watch("generated images", done, 3000)
    assert logged == ["generated images: 2,000 of 3,000"]


def test_precision_is_that_of_the_drawing_alone_and_part_of_the_protocol(folder: Path, monkeypatch) -> None:
    seen: list[tuple] = []
    sample, look = DCGAN.sample, Classifier.__call__

    def drawing(*args, **more):
        images = sample(*args, **more)
        seen.append(("drawn", images.dtype))
        return images

    def looking(self, images):
        features = look(self, images)
        seen.append(("seen", features[0].dtype))
        return features

    monkeypatch.setattr(DCGAN, "sample", drawing)
    monkeypatch.setattr(Classifier, "__call__", looking)
    values = [evaluated(folder, "n=64", *more) for more in ([], ["runtime.precision=bf16"])]  # not "scored already"
    cards = [card for name, card in results(folder).items() if name.endswith(".json")]
    assert sorted(card["protocol"]["precision"] for card in cards) == ["bfloat16", "float32"]
    assert set(seen) == {("drawn", torch.float32), ("drawn", torch.bfloat16), ("seen", torch.float32)}
    assert values[0]["fid"] != values[1]["fid"] and values[0]["fid"] == pytest.approx(values[1]["fid"], rel=0.05)
