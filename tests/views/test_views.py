"""Views: what suits which model, short words on the command line, old configs, and a view from outside."""

import shutil

import numpy as np
import pytest
import torch
from helpers import compose, run
from PIL import Image

from gancli import config
from gancli.config import targets
from gancli.config.legacy import renewed
from gancli.config.views import first_views
from gancli.data.fake import FakeImages
from gancli.errors import UsageError
from gancli.models.base import Model
from gancli.training import checkpoint
from gancli.verbs.sample.run import sample
from gancli.views import choice, pictures
from gancli.views.base import Picture, RunData, View
from gancli.views.completion import Completion
from gancli.views.grid import Grid
from gancli.views.interpolation import Interpolation
from gancli.views.translation import Translations

MINE = '''
import torch
from gancli.views.base import Picture, View
from gancli.views.grids import make_grid

class Twice(View):
    """Samples, each beside its mirror image."""

    needs = "a model of images"

    def __init__(self, gap: int = 2) -> None:
        self.gap = gap

    @classmethod
    def suits(cls, model):
        return not model.spec.points

    def draw(self, model, data, *, n, seed, batch_size):
        found = model.sample(n, generator=torch.Generator(model.device).manual_seed(seed))
        raw = ((found + 1) * 127.5).round().byte()
        both = torch.stack([raw, raw.flip(-1)], 1).flatten(0, 1)
        return {"": Picture(make_grid(both, 2, self.gap, heads=("drawn", "mirrored")), raw)}
'''


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run(folder, "images=16", model="cgan")
    return folder


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A view of the user's own: a module on the path, and a yaml in a folder of $GANCLI_CONF."""
    (tmp_path / "ownviews.py").write_text(MINE)
    (tmp_path / "own" / "view").mkdir(parents=True)
    (tmp_path / "own" / "view" / "twice.yaml").write_text("_target_: ownviews.Twice\ngap: 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("GANCLI_CONF", str(tmp_path / "own"))


@pytest.mark.parametrize("name", sorted(config.options("view")))
def test_every_option_has_the_defaults_of_its_class_and_says_what_it_shows(name):
    node = config.options("view")[name]
    view = choice.build(name)
    assert isinstance(view, View) and view.needs.startswith("a model ")
    assert choice.build({"_target_": node["_target_"]}).__dict__ == view.__dict__
    assert set(node) - {"_target_"} == targets.signature(node["_target_"]).parameters.keys()
    text = (config.conf_dir() / "view" / f"{name}.yaml").read_text()
    assert text.startswith("# ") and "gancli sample" in text.splitlines()[0]


@pytest.mark.parametrize("name", sorted(config.options("model")))
def test_the_views_that_a_model_names_exist_and_are_read_from_its_source(name):
    target = config.options("model")[name]["_target_"]
    kind = config.target_class({"_target_": target}, Model)
    assert targets.constant(target, "views") == kind.views and set(kind.views) <= config.options("view").keys()
    assert first_views({"model": {"_target_": target}, "data": {"_target_": "gancli.data.points.Ring"}}) == ("points",)


def test_a_view_that_does_not_suit_is_refused_with_those_that_do(trained, tmp_path):
    for typed, says in (("completion", "completes images"), ("points", "a model of points")):
        cfg = compose("sample", [f"ckpt={trained}", f"view={typed}", f"out={tmp_path / 'out'}", "runtime=cpu"])
        with pytest.raises(UsageError, match=f"{says}, which CGAN is not; its views are: grid, interpolation"):
            sample(cfg)
    with pytest.raises(UsageError, match="did you mean 'grid'"):
        choice.build("gird")
    with pytest.raises(UsageError, match="samples.views|no view 'walk'"):
        run(tmp_path / "none", "images=8", "samples.views=[walk]")
    assert not (tmp_path / "out").exists() and not (tmp_path / "none").exists()


def test_training_writes_the_views_that_are_named_the_first_without_a_name(tmp_path):
    run(tmp_path, "images=8", "samples.views=[interpolation,grid]")
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names[:2] == ["000000000000-grid.png", "000000000000.png"] and {"run-grid.gif", "run.gif"} <= set(names)
    model = checkpoint.rebuild(tmp_path)
    expected = Interpolation().draw(model, RunData(lambda: None), n=4, seed=0, batch_size=8)[""].image
    assert np.array_equal(np.asarray(Image.open(tmp_path / "samples" / "000000000008.png")), expected)


def test_short_words_are_keys_of_the_view_or_of_the_sampling(cli, trained, tmp_path):
    words = ("sample", f"ckpt={trained}", "runtime=cpu", "n=4")
    assert cli(*words, "label=3", f"out={tmp_path / 'a'}").code == 0
    assert cli(*words, "view=grid", "view.label=3", f"out={tmp_path / 'b'}").code == 0
    assert (tmp_path / "a" / "grid.png").read_bytes() == (tmp_path / "b" / "grid.png").read_bytes()
    assert cli(*words, "view=interpolation", "steps=2", f"out={tmp_path / 'c'}").code == 0
    refused = {
        "temperature=0.9": "temperature: no such key (allowed: batch_size",
        "steps=3": "steps: no such key",
        "lable=3": "did you mean 'label'?",
        "kind=interpolation": "write view=interpolation",
        "sampling.temperature=1": "sampling.temperature: no such key (none are allowed)",
        "view.lable=3": "did you mean 'label'?",
        "label=11": "0 to 9",
    }
    for wrong, says in refused.items():
        answer = cli(*words, wrong, f"out={tmp_path / 'd'}")
        assert answer.code == 2 and says in answer.err and answer.err.count("\n") == 1, answer.err
    answer = cli("sample", "label=3")
    assert answer.code == 2 and "ckpt is missing; add ckpt=" in answer.err
    shutil.copytree(trained, tmp_path / "copy")
    answer = cli("sample", "-m", f"ckpt={trained},{tmp_path / 'copy'}", "label=1,2", "n=2", "runtime=cpu")
    assert answer.code == 0 and "4 jobs" in answer.out


def test_a_view_from_outside_is_one_file_and_one_yaml(cli, mine, trained, tmp_path):
    words = ("sample", f"ckpt={trained}", "runtime=cpu", "n=3", "view=twice")
    answer = cli(*words, f"out={tmp_path / 'no'}")
    assert answer.code == 2 and "trust=[ownviews]" in answer.err and not (tmp_path / "no").exists()
    answer = cli(*words, "gap=5", "trust=[ownviews]", f"out={tmp_path / 'out'}")
    assert answer.code == 0, answer.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *(f"{i:06d}.png" for i in range(3)),
        "grid.png",
    ]
    width, height = Image.open(tmp_path / "out" / "grid.png").size
    assert width == 2 * (56 + 5) + 5 and height > 3 * (56 + 5) + 5
    assert "did you mean 'gap'" in cli(*words, "view.gpa=1", "trust=[ownviews]").err
    run(tmp_path / "run", "images=8", "samples.views=[grid,twice]", "trust=[ownviews]")
    assert (tmp_path / "run" / "samples" / "000000000008-twice.png").is_file()


def test_old_configs_keep_what_they_wrote():
    pixelcnn, ring = "gancli.models.pixelcnn.PixelCNN", "gancli.data.points.Ring"

    def views(completion, model=pixelcnn, data="gancli.data.fake.FakeImages"):
        samples = {"every": 1, "n": 4} | ({} if completion == "none" else {"completion": completion})
        found = renewed({"samples": samples, "model": {"_target_": model}, "data": {"_target_": data}})
        assert found["samples"].keys() == {"every", "n", "views"}
        return found["samples"]["views"]

    assert views("bottom") is None and views(None) == ["grid"] and views("none") == ["grid"]
    assert views(None, model="gancli.models.cyclegan.CycleGAN") is None
    assert views(None, model="gancli.models.kde.KDE", data=ring) is None
    assert renewed({"samples": {"every": 1, "views": ["grid"]}})["samples"]["views"] == ["grid"]
    assert views("top") == ["grid", {"completion": {"mask": "top"}}] and views("top", data=ring) is None


def test_a_run_of_the_first_release_goes_on_with_its_missing_part(cli, tmp_path):
    folder = tmp_path / "run"
    run(folder, "images=8", model="pixelcnn")
    text = (folder / "config.yaml").read_text()
    assert text.count("  views: null\n") == 1
    (folder / "config.yaml").write_text(text.replace("  views: null\n", "  completion: left\n"))
    answer = cli("train", f"resume={folder}", "images=16")
    assert answer.code == 0, answer.err
    assert "views:\n  - grid\n  - completion:\n      mask: left\n" in (folder / "config.yaml").read_text()
    model, cfg = checkpoint.rebuild(folder), checkpoint.load(folder).config
    data = choice.run_data(cfg.data, (), 16)
    for mask in ("left", "bottom"):
        expected = Completion(mask).draw(model, data, n=4, seed=0, batch_size=8)[""].shown()
        written = np.asarray(Image.open(folder / "samples" / "000000000016-completion.png"))
        assert np.array_equal(written, expected) == (mask == "left")


def test_views_of_training_take_values_of_their_keys(tmp_path):
    chosen = [{"completion": {"mask": "top", "completions": 2}}, "grid"]
    run(tmp_path, "images=8", "samples.views=[{completion: {mask: top, completions: 2}},grid]", model="pixelcnn")
    found = choice.of_model(model := checkpoint.rebuild(tmp_path), chosen)
    assert list(found) == ["completion", "grid"] and vars(found["completion"]) == vars(Completion("top", None, 2))
    assert Image.open(tmp_path / "samples" / "000000000008.png").size[0] == 4 * 58 + 2  # image, hole, 2 completions
    for wrong, says in {
        "grid": "samples.views has grid twice",
        "completion": "samples.views has completion twice",
    }.items():
        with pytest.raises(UsageError, match=says):
            choice.of_model(model, [*chosen, wrong])
    for wrong in ({}, {"grid": None}, {"grid": {}, "completion": {}}, {"grid": {"_target_": "os.system"}}, 3):
        with pytest.raises(UsageError, match="is no view; write its name"):
            choice.of_model(model, [wrong])
    with pytest.raises(UsageError, match="did you mean 'mask'"):
        choice.of_model(model, [{"completion": {"maks": "top"}}])


def test_pictures_become_files_by_their_names_and_format(tmp_path):
    raw = torch.arange(2 * 3 * 2 * 2, dtype=torch.uint8).view(2, 3, 2, 2)
    found = {"a2b": Picture(np.zeros((4, 4, 3), np.uint8), raw, torch.tensor([1, 0]))}
    assert pictures.write(tmp_path / "png", found, "png") == 2
    assert sorted(p.name for p in (tmp_path / "png").iterdir()) == ["a2b-000000.png", "a2b-000001.png", "grid-a2b.png"]
    assert pictures.write(tmp_path / "npz", found, "npz") == 2
    arrays = np.load(tmp_path / "npz" / "images-a2b.npz")
    assert arrays["images"].shape == (2, 2, 2, 3) and arrays["labels"].tolist() == [1, 0]
    streamed = {"": Picture(None, iter(raw), names=("sub/one", "two"))}
    with pytest.raises(UsageError, match="format=grid"):
        pictures.check_format(streamed, "grid")
    assert pictures.write(tmp_path / "stream", streamed, "png") == 2
    assert np.array_equal(np.asarray(Image.open(tmp_path / "stream" / "sub" / "one.png")), raw[0].permute(1, 2, 0))
    assert pictures.write(tmp_path / "none", {"": Picture(np.zeros((4, 4, 3), np.uint8))}, "npz") == 0


def test_data_are_read_when_a_view_asks():
    data = RunData(lambda: pytest.fail("read"), ["cat"], 5)
    assert data.class_number("cat") == 0 and data.images == 5
    assert choice.held_out({"validation": 0}) == "test"
    assert choice.held_out({"validation": 0.1}) == "validation" and choice.held_out({}) == "test"


@pytest.mark.parametrize(
    "view, n, said",
    [
        (Interpolation(steps=10), 15, "n=15: each row has 10 images; use n=20"),
        (Interpolation(steps=10), 20, None),
        (Completion(), 3, "view.completions=3 is per image"),
        (Translations(), 6, "n=6: the picture shows 5 images or fewer"),
        (Translations(), 5, None),
        (Translations(source="x"), 1, "all images of source=x are translated"),
        (Grid(), 10**6, None),
    ],
)
def test_a_number_that_a_view_cannot_show_is_refused(view, n, said):
    data = RunData(lambda: FakeImages(n=20, n_test=5, size=8))
    if said is None:
        return view.check_number(n, data)
    with pytest.raises(UsageError, match=said):
        view.check_number(n, data)
