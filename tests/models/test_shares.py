"""Several processes draw the batches of one: each passes over the others' by their random numbers alone."""

import logging

import pytest
import torch
from conftest import ROOT
from helpers import compose, overrides

from gancli import config
from gancli.models.autoregressive import Autoregressive
from gancli.models.base import Adversarial, Model
from gancli.models.held_out import Answer, HeldOut
from gancli.models.sampling import class_labels, draw, draw_together
from gancli.models.shares import Crew, Share
from gancli.models.translation import Translation

NAMES = sorted(file.stem for file in (ROOT / "conf" / "model").glob("*.yaml") if not file.stem.endswith("_paper"))


def build(name: str, *words: str) -> Model:
    cfg = compose("train", overrides(name, *words))
    source, _ = config.build_data(cfg.data)
    images = source.split("train")
    torch.manual_seed(0)
    model = config.instantiate(cfg.model, Model, spec=images.spec)
    model.fit_data(torch.from_numpy(images.pixels[:20].copy()))
    return model.eval()


@pytest.mark.parametrize("name", NAMES)
def test_skipping_leaves_the_generator_where_sampling_does(name) -> None:
    model = build(name)
    if isinstance(model, Translation):
        pytest.skip("it translates images, see below")
    for label in (None, class_labels(model, 3, 1) if model.conditional else None):
        one, other = (torch.Generator().manual_seed(5) for _ in range(2))
        with torch.no_grad():
            model.sample(3, label=label, generator=one)
            model.skip(3, label=label, generator=other)
        assert torch.equal(one.get_state(), other.get_state())


TRANSLATIONS = ["cyclegan", "pix2pix", "stargan"]
DENSITIES = [
    "kde data.dequantise=uniform",
    "vae_conv data.dequantise=uniform data.binarise=null likelihood@model.likelihood=gaussian",
]


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_skipping_a_translation_leaves_the_generator_where_translating_does(name) -> None:
    model = build(name)
    assert isinstance(model, Translation)
    image = torch.rand(3, model.spec.source_channels or model.spec.channels, model.spec.height, model.spec.width)
    one, other = (torch.Generator().manual_seed(5) for _ in range(2))
    with torch.no_grad():
        model.translate(image, model.directions[0], one)
        model.skip_translation(image, model.directions[0], other)
    assert torch.equal(one.get_state(), other.get_state())


@pytest.mark.parametrize("name", [*NAMES, *DENSITIES])
def test_what_a_model_says_of_images_is_the_same_if_others_were_passed_over(name) -> None:
    """Of the second of two batches, bit for bit: nats, bounds, latents, codes and reconstructions."""
    model = build(*name.split())
    asked = model.held_out()
    if asked is None:
        pytest.skip("it says nothing of images")
    model.k = 3  # of metrics=[iwae]
    whole, parts = model.held_out(), model.held_out()
    assert whole is not None and parts is not None and all(isinstance(each, Answer) for each in asked.says.values())
    image = torch.rand(5, *model.spec.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    label = torch.arange(5) % model.spec.num_classes if model.spec.num_classes else None
    batches = [(image[rows], None if label is None else label[rows]) for rows in (slice(0, 3), slice(3, 5))]
    with torch.no_grad():
        for said in asked.says:
            part = parts.part(said, Share(1, 2))
            expected, found = [[answer(*each) for each in batches] for answer in (whole.says[said], part)]
            assert found[0] is None and torch.equal(found[1], expected[1]), said


def test_a_likelihood_that_may_draw_unseen_is_computed_by_all() -> None:
    asked: list[int] = []
    said = HeldOut(lambda image, label: asked.append(0) or image.sum((1, 2, 3)), "exact", 256)
    part = said.part("nats", Share(1, 2))
    assert part(torch.ones(2, 1, 2, 2), None) is None and len(asked) == 1
    assert torch.equal(part(torch.ones(2, 1, 2, 2), None), torch.full((2,), 4.0))


@pytest.mark.parametrize("name", ["dcgan", "pixelcnn"])
def test_what_is_passed_over_is_not_computed(name, monkeypatch) -> None:
    model, computed = build(name), []
    kind = Adversarial if name == "dcgan" else Autoregressive
    method = "generate" if name == "dcgan" else "from_noise"
    own = getattr(kind, method)
    monkeypatch.setattr(
        kind, method, lambda self, noise, *args, **kw: computed.append(0) or own(self, noise, *args, **kw)
    )
    found = list(draw(model, 14, seed=1, batch_size=2, share=Share(1, 3)))
    assert len(found) == 2 and len(computed) == 3  # batches 1 and 4, and the first, with which skip() is compared


@pytest.mark.parametrize("run", [1, 2])
@pytest.mark.parametrize("world", [2, 3])
def test_the_parts_of_all_are_the_batches_of_one(world, run) -> None:
    model = build("cdcgan")
    labels = class_labels(model, 15)
    whole = list(draw(model, 15, seed=4, batch_size=2, labels=labels))
    shares = [Share(rank, world, run) for rank in range(world)]
    parts = [iter(list(draw(model, 15, seed=4, batch_size=2, labels=labels, share=share))) for share in shares]
    for batch, (images, label) in enumerate(whole):
        (owner,) = [rank for rank, share in enumerate(shares) if share.has(batch)]
        ours = next(parts[owner])
        assert torch.equal(ours[0], images) and torch.equal(ours[1], label)
    assert all(next(part, None) is None for part in parts)


def test_a_model_that_skips_wrongly_draws_all(caplog) -> None:
    model = build("dcgan")
    whole = [images for images, _ in draw(model, 9, seed=4, batch_size=2)]
    with caplog.at_level(logging.WARNING):
        model.skip = lambda n, label, generator: None  # type: ignore[method-assign]
        own = [images for images, _ in draw(model, 9, seed=4, batch_size=2, share=Share(1, 2))]
    assert all(torch.equal(a, b) for a, b in zip(own, whole[1::2], strict=True))
    assert caplog.text.count("what passes over DCGAN.sample() does not draw what it draws") == 1


def test_one_process_is_the_trivial_case() -> None:
    model = build("dcgan")
    whole = torch.cat([images for images, _ in draw(model, 5, seed=4, batch_size=2)])
    together = draw_together(model, 5, seed=4, batch_size=2, labels=None, crew=Crew())
    assert torch.equal(torch.cat(list(together)), whole) and Crew().share() is None


def test_batches_are_gathered_in_their_order() -> None:
    """Three processes, of which the last has one batch less: a stand-in answers for the other two."""
    others = iter([["b", "c"], ["e", None]])
    crew = Crew(0, 3, lambda own: [own, *next(others)])
    assert list(crew.in_turns(iter("ad"), 5)) == list("abcde")
    assert Crew(0, 2, lambda own: [own, {1: "b", 3: "d"}]).merged({0: "a", 2: "c"}) == {0: "a", 1: "b", 2: "c", 3: "d"}
    sent = []
    assert list(Crew(2, 3, lambda own: sent.append(own) or []).in_turns(iter("c"), 5)) == [] and sent == ["c", None]
