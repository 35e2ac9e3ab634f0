"""Lectures: what every one of them writes and refuses; their numbers are tested in test_numbers.py."""

import json
import signal

import numpy as np
import pytest
from helpers import lecture, options

from gancli.errors import Interrupted
from gancli.lectures.base import FIGURE, NUMBERS, Lecture, run_lecture
from gancli.verbs.train import train
from gancli.views import figures

LECTURES = options("experiment/lecture")
SMALL = {
    "critic_vs_discriminator": ["images=500"],
    "dirac_gan": ["lecture.steps=3", "lecture.samples=4"],
    "disentanglement": ["lecture.steps=5", "lecture.batch=8", "lecture.units=4", "lecture.points=50"],
    "elbo_gap": ["lecture.images=5", "lecture.samples=20"],
    "fgan_bounds": ["images=3000", "lecture.looks=2"],
    "gumbel_softmax": ["lecture.samples=100"],
    "mode_collapse": ["images=256", "model.width=8", "lecture.points=50", "~lecture.scenes.grid25"],
    "optimal_discriminator": ["images=1000", "lecture.distances=[0,1]"],
    "parallel_lines": ["images=256", "lecture.learned=2", "lecture.points=5"],
    "posterior_collapse": [
        "images=64", "batch_size=32", "model.hidden=[4]", "model.latent_dim=2", "lecture.betas=[1]",
        "lecture.latents=2", "lecture.iterations=5",
    ],
    "pyramid": ["lecture.images=20", "lecture.shown=2"],
    "r1_r2": ["images=256", "model.width=8", "lecture.points=50"],
    "progressive": ["images=96", "model.width=2", "model.max_width=4", "lecture.looks=3", "lecture.n=16"],
    "reparametrisation": ["lecture.dimensions=10", "lecture.samples=50", "lecture.steps=5"],
    "spectral_norm": ["images=64", "batch_size=32", "model.width=4", "lecture.looks=2"],
    "truncation": ["images=32", "batch_size=16", "model.width=4", "lecture.n=40", "features.epochs=1"],
    "vae_vs_gan": [
        "data=fake", "data.n=60", "data.n_test=60", "data.size=8", "data.channels=1", "data.binarise=dynamic",
        "images=32", "batch_size=16", "model.width=2", "model.hidden=4", "lecture.seeds=2", "lecture.looks=2",
        "lecture.n=20", "features=classifier", "features.epochs=1",
    ],
    "vanishing_gradient": [
        "lecture.freezes=[32,64]", "lecture.updates=2", "lecture.latents=8", "model.width=4", "batch_size=32",
    ],
    "vq_codes": ["lecture.updates=5", "lecture.codes=4", "lecture.sizes=[3,3]"],
    "weight_clipping": ["images=400", "model.width=8"],
}  # fmt: skip


@pytest.mark.parametrize("name", LECTURES)
def test_every_lecture_writes_one_figure_and_one_json(name, tmp_path):
    values = train(lecture(name, *SMALL.get(name, [])), tmp_path)
    assert values and all(isinstance(value, float) for value in values.values())
    assert (tmp_path / FIGURE).read_bytes()[:4] == b"\x89PNG" and json.loads((tmp_path / NUMBERS).read_text())
    names = {path.name.partition(".")[0] for path in tmp_path.iterdir()}
    assert names == {"config", "log", "figure", "numbers", "metrics", "events"}


def test_a_lecture_is_refused_like_any_target(cli):
    answer = cli("train", "experiment=lecture/dirac_gan", "lecture.stepz=3")
    assert answer.code == 2 and "did you mean 'steps'" in answer.err
    answer = cli("train", "experiment=lecture/dirac_gan", "lecture.methods.r1.penalties.r1.gama=3")
    assert answer.code == 2 and "did you mean 'gamma'" in answer.err
    answer = cli("train", "experiment=lecture/dirac_gan", "+lecture.methods.r1.penalties.r1.gama=3")
    assert answer.code == 2 and "lecture.methods.r1.penalties.r1.gama: no such key; did you mean 'gamma'" in answer.err
    answer = cli("train", "experiment=lecture/dirac_gan", "lecture.steps=0")
    assert answer.code == 2 and "steps=0" in answer.err
    answer = cli("train", "experiment=lecture/dirac")
    assert (
        answer.code == 2 and "experiment=lecture/dirac: no such option; did you mean 'lecture/dirac_gan'" in answer.err
    )
    answer = cli("train", "lecture._target_=os.system", "experiment=lecture/dirac_gan")
    assert answer.code == 2 and "refused" in answer.err


def test_a_lecture_has_a_folder_of_its_own_and_never_writes_over_another(cli, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "save", lambda figure, path: None)  # it takes seconds
    monkeypatch.setattr(figures, "pixels", lambda figure: np.zeros((1, 1, 3), np.uint8))
    small = ["experiment=lecture/dirac_gan", *SMALL["dirac_gan"], "runtime=cpu"]
    assert cli("train", *small).code == 0
    (folder,) = (tmp_path / "outputs" / "lecture" / "dirac_gan").iterdir()
    before = (folder / NUMBERS).read_bytes()
    answer = cli("train", *small, f"hydra.run.dir={folder}")
    assert answer.code == 2 and "already holds a run" in answer.err
    assert cli("train", *small, "lecture.steps=5").code == 0
    assert len(list(folder.parent.iterdir())) == 2 and (folder / NUMBERS).read_bytes() == before


def test_the_first_signal_ends_a_lecture_in_one_line(tmp_path, monkeypatch):
    from gancli.lectures.dirac_gan import DiracGAN

    def slow(self, context):
        context.show("slow", 0, 2)
        signal.raise_signal(signal.SIGTERM)
        context.show("slow", 1, 2)
        raise AssertionError("went on")

    monkeypatch.setattr(DiracGAN, "draw", slow)
    with pytest.raises(Interrupted, match="stopped before .*figure.png") as error:
        run_lecture(lecture("dirac_gan"), tmp_path)
    assert error.value.signum == signal.SIGTERM and not (tmp_path / NUMBERS).exists()


def test_numbers_that_are_not_finite_stay_readable(tmp_path, monkeypatch):
    from gancli.lectures.dirac_gan import DiracGAN
    from gancli.views import figures

    numbers = {"a": {"kl": float("inf")}, "list": [1, float("nan")]}
    monkeypatch.setattr(DiracGAN, "draw", lambda self, context: (figures.panels()[0], numbers))
    assert run_lecture(lecture("dirac_gan"), tmp_path) == {"a.kl": float("inf")}
    assert json.loads((tmp_path / NUMBERS).read_text()) == {"a": {"kl": "inf"}, "list": [1, "nan"]}


@pytest.mark.parametrize("name", LECTURES)
def test_every_lecture_is_one(name):
    from gancli.config import target_class

    assert issubclass(target_class(lecture(name).lecture, Lecture), Lecture)
