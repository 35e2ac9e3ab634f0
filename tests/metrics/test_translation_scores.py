"""What a faultless translation scores, and one that shows nothing."""

import torch
from helpers import SHAPES, compose

from gancli import config
from gancli.metrics.registry import metrics_named
from gancli.metrics.scoring.base import Settings, scoring_of, together
from gancli.metrics.scoring.translations import Translations
from gancli.models.directions import directions
from gancli.models.translation import Cyclic


class Right(Cyclic):
    """Translates without a fault: looks the true translation up."""

    def __init__(self, known):
        torch.nn.Module.__init__(self)
        self.known, self.anchor = known, torch.nn.Parameter(torch.zeros(()))

    def translate(self, source, direction, generator=None):
        from gancli.data.spec import quantise

        return torch.stack([self.known[direction].get(quantise(x).numpy().tobytes(), x) for x in source])


def test_a_faultless_translation_has_the_best_values_and_none_at_all_the_worst():
    source, _ = config.build_data(compose("train", ["model=cyclegan", *SHAPES, "data.a.n=300", "data.b.n=300"]).data)
    images = source.split("test")
    model = Right({"a2b": {}, "b2a": {}})
    model.spec = images.spec
    for way in directions(model, images):
        back = {"a2b": "b2a", "b2a": "a2b"}[way.name]
        for x, y in zip(way.source.pixels, way.truth):
            picture = lambda p: torch.from_numpy(p).float() / 127.5 - 1  # noqa: E731
            model.known[way.name][x.tobytes()], model.known[back][y.tobytes()] = picture(y), picture(x)
    from gancli.metrics.classifier import Classifier

    settings = Settings(
        metrics_named(["fid"]), source, "test", lambda: Classifier(epochs=12), batch_size=8, device=torch.device("cpu")
    )
    scoring = Translations(model, settings, "the faultless one")
    assert isinstance(scoring, scoring_of(Right))
    for subject in scoring.subjects:
        best, details, _ = subject.score(model, seed=0)
        assert best["cycle_l1"] == best["identity_l1"] == best["true_l1"] == 0
        assert all(best[f"{key}_right"] == 1 for key in ("colour", "place")) and best["shape_right"] > 0.9
        assert best["labels_kept"] > 0.4 and details["labels_kept"]["shares"]
    nothing = Right({"a2b": {}, "b2a": {}})
    nothing.spec = images.spec
    for subject in scoring.subjects:
        worst, _, _ = subject.score(nothing, seed=0)
        assert worst["colour_right"] == worst["all_right"] == 0 and worst["shape_right"] > 0.9
        assert worst["true_l1"] > 0.03 and worst["fid"] > best["fid"]
    best = together({subject.name: subject.score(model, seed=0).values for subject in scoring.subjects})
    assert best["true_l1"] == 0 and best["a2b/colour_right"] == 1
