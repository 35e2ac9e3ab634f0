"""Pictures, scores and folders of translations, through the verbs."""

import json

import numpy as np
import pytest
import torch
from helpers import SHAPES, compose, overrides
from PIL import Image

from gancli import config
from gancli.data.edges import Edges
from gancli.data.reading import verdict
from gancli.data.shapes import Shapes, render
from gancli.errors import UsageError
from gancli.metrics.scoring.translations import right_by_source
from gancli.models.directions import directions
from gancli.models.pix2pix import Pix2Pix
from gancli.models.stargan import StarGAN
from gancli.models.translation import MultiDomain
from gancli.training import checkpoint
from gancli.training.loop import train
from gancli.verbs.evaluate.run import evaluate
from gancli.verbs.sample.run import sample
from gancli.views.grids import make_grid
from gancli.views.translation import panels, translate

TINY = ["model.width=4", "model.discriminator_width=4"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cyclegan")
    train(compose("train", ["model=cyclegan", *SHAPES, *TINY, "model.blocks=1", "eval.every=16",
                            "eval.metrics=[fid,classes]", "eval.split=test", "eval.best=true_l1"]), folder)  # fmt: skip
    return folder


def lines(folder) -> dict[str, float]:
    found = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        found |= json.loads(line)
    return found


def test_training_shows_and_scores_both_directions(trained):
    names = sorted(p.name for p in (trained / "samples").glob("*.png"))
    assert names == [f"{n:012d}-{way}.png" for n in (0, 16) for way in ("a2b", "b2a")]
    values = lines(trained)
    assert checkpoint.load(trained).state["metrics"]["best"] == values["eval/true_l1"]
    for way in ("a2b", "b2a"):
        for key in (
            "fid",
            "cycle_l1",
            "identity_l1",
            "labels_kept",
            "true_l1",
            "colour_right",
            "all_right",
            "accuracy",
        ):
            assert np.isfinite(values[f"eval/{way}/{key}"]), key
    assert values["eval/fid"] == pytest.approx((values["eval/a2b/fid"] + values["eval/b2a/fid"]) / 2)
    assert (trained / "checkpoints" / "best.pt").is_file()
    assert "patches of 16 pixels" in (trained / "log.txt").read_text()


def test_panels_show_source_translation_reconstruction_identity_and_truth(trained):
    saved = checkpoint.load(trained)
    model = checkpoint.rebuild(saved)
    source, _ = config.build_data(saved.config.data)
    images = source.split("test")
    found = panels(model, images, 4, torch.Generator())
    assert found.keys() == {"a2b", "b2a"}
    for way in directions(model, images):
        x = torch.from_numpy(way.source.pixels[:4]).float() / 127.5 - 1
        there, back = model.translate(x, way.direction), {"a2b": "b2a", "b2a": "a2b"}[way.direction]
        rows = [x, there, model.translate(there, back), model.translate(x, back)]
        bytes_ = [((row + 1) * 127.5).clamp(0, 255).round().byte() for row in rows] + [torch.from_numpy(way.truth[:4])]
        grid = make_grid(torch.cat(bytes_), 4)
        picture = found[way.name].image
        assert np.array_equal(picture[:, picture.shape[1] - grid.shape[1] :], grid)
        assert (picture[:, : picture.shape[1] - grid.shape[1]] < 128).any()  # the rows' names
    assert np.array_equal(directions(model, images)[0].truth, render(directions(model, images)[0].factors, 16))


def test_eval_writes_a_card_for_each_direction(trained, capsys):
    before = {file: json.loads(file.read_text()) for file in (trained / "eval").glob("*.json")}
    assert len(before) == 2 and not any(card["floor"] or card["checkpoint"] for card in before.values())
    values = evaluate(compose("eval", [f"ckpt={trained}", "runtime=cpu", "metrics=[fid,classes]", *SHAPES[:-4]]))
    for file, card in before.items():  # what training wrote on its way says the same, and less
        after = json.loads(file.read_text())
        assert after["checkpoint"] and after["values"] == card["values"] and after["details"] == card["details"]
    for way in ("a2b", "b2a"):
        (file,) = (trained / "eval").glob(f"*-{way}-classifier.json")
        card = json.loads(file.read_text())
        assert card["values"]["fid"] == values[f"{way}/fid"] and card["protocol"]["direction"] == way
        assert card["protocol"]["images_generated"] == card["protocol"]["images_reference"] == 24
        table = np.array(card["details"]["labels_kept"]["rows_wanted_columns_seen"])
        assert table.sum() == 24 and np.trace(table) / 24 == pytest.approx(card["values"]["labels_kept"])
        shares = card["details"]["labels_kept"]["shares"]
        assert shares.keys() == {"circle", "square", "triangle"}
        assert card["floor"]["values"]["fid"] > 0
    assert "a2b: shapes -> shapes" in capsys.readouterr().out


def test_several_domains_have_a_way_to_each_and_one_picture(tmp_path):
    cfg = compose("train", ["model=stargan", "data=shapes", "data.label=colour", "data.n=60", "data.n_test=24",
                            "data.size=16", *TINY, "model.blocks=1", *SHAPES[-5:-2], "images=40"])  # fmt: skip
    train(cfg, tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run" / "samples").iterdir())[0] == "000000000000-domains.png"
    saved = checkpoint.load(tmp_path / "run")
    model = checkpoint.rebuild(saved)
    assert isinstance(model, MultiDomain)
    images = config.build_data(saved.config.data)[0].split("test")
    found = directions(model, images)
    assert [way.name for way in found] == ["to_red", "to_green", "to_blue", "to_yellow"]
    for i, way in enumerate(found):
        assert (way.source.labels != i).all() and (way.target.labels == i).all()
        assert len(way.source) + len(way.target) == 24
        assert (way.factors.colour == way.target.factors.colour[0]).all()
    values = evaluate(compose("eval", [f"ckpt={tmp_path / 'run'}", "runtime=cpu", "metrics=[fid]",
                                       "data=shapes", "data.label=colour", "data.n=60",
                                       "data.n_test=24", "data.size=16",
                                       "features=classifier", "features.epochs=1"]))  # fmt: skip
    assert {"to_red/domain_right", "to_blue/shape_right", "to_green/cycle_l1"} <= values.keys()
    (card,) = (tmp_path / "run" / "eval").glob("*-to_red*.json")
    assert json.loads(card.read_text())["details"]["right_by_source"].keys() == {"green", "blue", "yellow"}
    photographs(tmp_path / "photos")
    words = [f"ckpt={tmp_path / 'run'}", "view=translation", f"view.source={tmp_path / 'photos'}", "runtime=cpu"]
    for direction in ("blue", "2"):  # its name or its number
        sample(compose("sample", [*words, f"view.direction={direction}", f"out={tmp_path / direction}"]))
    files = sorted(path.relative_to(tmp_path / "2") for path in (tmp_path / "2").rglob("*.png"))
    assert files and all((tmp_path / "2" / f).read_bytes() == (tmp_path / "blue" / f).read_bytes() for f in files)
    for typed in ("view.direction=bleu", "view.direction=null"):
        with pytest.raises(UsageError, match="the domains 0, 1, 2, 3, red, green, blue, yellow"):
            sample(compose("sample", [*words, typed]))


def test_what_is_right_is_told_by_source_too():
    """Blue pictures are translated truly, and the others left as they are."""
    images = Shapes(40, 60, label="colour").split("test")
    way = directions(StarGAN(images.spec, width=2, discriminator_width=2), images)[0]
    blue = way.source.labels == 2
    pixels = np.where(blue[:, None, None, None], way.truth, way.source.pixels)
    found = right_by_source(way, pixels)
    assert found == {
        "green": {"colour": 0, "shape": 1, "place": 1, "all": 0},
        "blue": {"colour": 1, "shape": 1, "place": 1, "all": 1},
        "yellow": {"colour": 0, "shape": 1, "place": 1, "all": 0},
    }
    first = way.source.labels[0]
    assert right_by_source(way, pixels[:1]).keys() == {way.source.class_names[first]}


def photographs(folder):
    folder.mkdir()
    (folder / "more").mkdir()
    sizes = {"a.jpg": (31, 20), "b.png": (16, 16), "b.jpg": (17, 23), "more/c.webp": (40, 13)}
    for i, (name, size) in enumerate(sizes.items()):
        Image.fromarray(np.random.RandomState(i).randint(0, 255, (*size[::-1], 3), dtype=np.uint8)).save(folder / name)
    return sizes


def test_sample_translates_a_folder_of_any_sizes_and_keeps_the_names(trained, tmp_path):
    sizes = photographs(tmp_path / "photos")
    words = [f"ckpt={trained}", "view=translation", f"view.source={tmp_path / 'photos'}", "runtime=cpu"]
    assert sample(compose("sample", [*words, f"out={tmp_path / 'b2a'}", "view.direction=b2a"])) == {"n": 4}
    kept = {"a.jpg": "a.png", "b.png": "b.png.png", "b.jpg": "b.jpg.png", "more/c.webp": "more/c.png"}
    found = sorted(str(p.relative_to(tmp_path / "b2a")) for p in (tmp_path / "b2a").rglob("*.png"))
    assert found == sorted(kept.values())
    assert all(Image.open(tmp_path / "b2a" / kept[name]).size == size for name, size in sizes.items())
    sample(compose("sample", [*words, f"out={tmp_path / 'a2b'}"]))
    one, two = (np.asarray(Image.open(tmp_path / way / "a.png")) for way in ("a2b", "b2a"))
    assert not np.array_equal(one, two)
    model = checkpoint.rebuild(trained)
    square = torch.from_numpy(np.asarray(Image.open(tmp_path / "photos" / "b.png")).copy()).permute(2, 0, 1)[None]
    expected = model.translate(square.float() / 127.5 - 1, "a2b")[0]
    made = torch.from_numpy(np.asarray(Image.open(tmp_path / "a2b" / "b.png.png")).copy()).permute(2, 0, 1)
    assert (made.float() / 127.5 - 1 - expected).abs().max() < 0.005


def test_sample_says_what_is_wrong(trained, tmp_path):
    photographs(tmp_path / "photos")

    def refused(match, *words):
        with pytest.raises(UsageError, match=match) as error:
            sample(
                compose(
                    "sample", [f"ckpt={trained}", "view=translation", "runtime=cpu", f"out={tmp_path / 'out'}", *words]
                )
            )
        assert "\n" not in str(error.value)

    refused("did you mean 'a2b'|a2b, b2a", f"view.source={tmp_path / 'photos'}", "view.direction=a2c")
    refused("a2b, b2a", "view.direction=a2c")
    refused("format=npz: images of a folder", f"view.source={tmp_path / 'photos'}", "format=npz")
    refused("no such folder", f"view.source={tmp_path / 'none'}")
    (tmp_path / "photos" / "bad.png").write_text("no picture")
    refused(
        "1 of 5 pictures cannot be translated .bad.png: no picture of the formats PNG",
        f"view.source={tmp_path / 'photos'}",
    )


def test_small_pictures_are_continued_or_refused(trained):
    model = checkpoint.rebuild(trained)
    assert translate(model, torch.zeros(1, 3, 9, 11), "a2b").shape == (1, 3, 9, 11)
    with pytest.raises(UsageError, match="too small"):
        translate(model, torch.zeros(1, 3, 5, 40), "a2b")


def test_sampling_without_a_source_and_other_models_with_one(tmp_path):
    train(compose("train", overrides("dcgan", "images=16")), tmp_path / "run")
    with pytest.raises(
        UsageError,
        match="Translations shows a model that translates, which DCGAN is not; its views are: grid, interpolation",
    ):
        sample(compose("sample", [f"ckpt={tmp_path / 'run'}", "view=translation", "runtime=cpu"]))
    for data, fitting in ((SHAPES, "cyclegan"), (["data=edges"], "pix2pix")):
        with pytest.raises(UsageError, match=f"MLPGAN learns images of one: choose model={fitting}"):
            train(compose("train", ["model=mlp_gan", *data, "runtime=cpu"]), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_pix2pix_on_edges_is_scored_against_the_true_pictures(tmp_path):
    cfg = compose("train", ["model=pix2pix", "data=edges", "data.of.n=40", "data.of.n_test=12", "data.of.size=16",
                            *TINY, "runtime=cpu", "images=8", "samples.n=4", "batch_size=4"])  # fmt: skip
    train(cfg, tmp_path / "run")
    assert len(list((tmp_path / "run" / "samples").glob("*-a2b.png"))) == 2
    typed = [f"ckpt={tmp_path / 'run'}", "runtime=cpu", "metrics=[fid]", "data=edges", "data.of.n=40",
             "data.of.n_test=12", "data.of.size=16", "features=classifier", "features.epochs=1"]  # fmt: skip
    values, other = evaluate(compose("eval", typed)), evaluate(compose("eval", [*typed, "batch_size=12"]))
    assert 0 < values["a2b/true_l1"] < 2 and "a2b/cycle_l1" not in values
    assert 0 <= values["a2b/shape_right"] <= 1
    cards = [json.loads(file.read_text()) for file in (tmp_path / "run" / "eval").glob("*-a2b-*.json")]
    sizes = {card["protocol"]["batch_size"]: card["values"]["true_l1"] for card in cards}
    assert sizes == {4: values["a2b/true_l1"], 12: other["a2b/true_l1"]}  # untyped: that of the training
    assert sizes[4] != sizes[12]  # batch norm has seen another batch


def test_the_pictures_of_pairs_say_what_a_true_translation_shows():
    """The true pictures themselves have nothing wrong, and in the order of others little is right."""
    images = Edges(Shapes(40, 12)).split("test")
    model = Pix2Pix(images.spec, width=2, discriminator_width=2)
    (way,) = directions(model, images)
    assert np.array_equal(way.truth, images.pixels) and way.source.pixels.shape == (12, 1, 32, 32)
    assert set(verdict(way.truth, way.factors).values()) == {1.0}
    assert verdict(way.truth[::-1], way.factors)["place"] < 0.5
    grey = Edges(Shapes(40, 12, channels=1)).split("test")
    assert directions(Pix2Pix(grey.spec, width=2, discriminator_width=2), grey)[0].factors is None
