"""VQ-VAE-2: sums over all images and codes of a tiny one, who learns from what, its samplers, and its two stages."""

import itertools
from functools import partial

import pytest
import torch
from helpers import NoHostSync, compose, overrides, tensors
from torch import Tensor, nn

from gancli.data.spec import Batch, ImageSpec, scaled
from gancli.errors import UsageError
from gancli.losses.vqvae2 import VQVAE2Loss
from gancli.models.discrete import UniformCodes
from gancli.models.gated_pixelcnn import GatedPixelCNN
from gancli.models.pixelcnn import PixelCNN
from gancli.models.vqvae2 import VQVAE2, enlarged
from gancli.nn.codebook import VQ
from gancli.nn.likelihoods import Bernoulli
from gancli.nn.quantisers import FSQ
from gancli.training import checkpoint
from gancli.training.build import build
from gancli.training.turn import run_turn

TINY = partial(GatedPixelCNN, width=4, blocks=2, head=4, kernel=3)
PLAIN = partial(PixelCNN, width=4, blocks=1, head=4, kernel=3)
SPEC = ImageSpec(1, 28, 12, num_classes=3, levels=2)  # 7x3 codes below 4x2
VECTORS = ["quantiser@model.quantiser=vq", "model.quantiser.codes=5", "model.quantiser.dim=3"]


class Silent:
    def add(self, scalars): ...


def vqvae2(prior=TINY, spec: ImageSpec = SPEC, quantiser=None, **kwargs) -> VQVAE2:
    torch.manual_seed(0)
    sizes = {"width": 4, "blocks": 1, "residual": 2, **kwargs}
    return VQVAE2(spec, Bernoulli, quantiser or FSQ([3, 4]), prior, **sizes).eval()


def wild(module: nn.Module, std: float = 0.5) -> None:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=std)


class Halves(VQVAE2):
    """Two codes at the top and two for each 4x4 pixels of 4x8 binary images; pixels are alike within 4x2, so that there
    are 16 images to sum over.
    """

    def __init__(self) -> None:
        super().__init__(ImageSpec(1, 4, 8, levels=2), Bernoulli, VQ(2, 2), TINY, width=3, blocks=1, residual=2)

    def reconstruction(self, z: Tensor, image: Tensor, label: Tensor | None = None, k: int = 1) -> Tensor:
        seen, params = (each[:, :, 0, ::2] for each in (image, self.decode(z)))
        return self.likelihood.nll(params[:, :, None], seen[:, :, None]).view(k, len(image))


@torch.no_grad()
@pytest.mark.parametrize("learned", [False, True])
def test_the_bound_is_below_the_likelihood_summed_over_the_codes_of_both_maps(learned):
    """All 16 images, 2 tops and 4 bottoms: sum_x sum_z p(x|z) p(top) p(bottom|top) = 1."""
    torch.manual_seed(1)
    model = Halves().double().eval()
    model.enter(learned)
    for each in (model.prior_network, model.bottom_prior, model.decoder):
        wild(each)
    stripes = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4)), dtype=torch.float64)
    image = stripes.repeat_interleave(2, 1)[:, None, None].expand(-1, -1, 4, -1)
    codes = torch.tensor(list(itertools.product((0, 1), repeat=3)))
    index = codes[:, :1, None], codes[:, None, 1:]
    costs = model.costs(index)
    assert float((-costs["top"]).exp().sum()) == pytest.approx(4, abs=1e-6)  # each top, with four bottoms
    assert (-costs["bottom"]).exp().view(2, 4).sum(1).tolist() == pytest.approx([1, 1], abs=1e-6)
    assert ((costs["bottom"][:4] - costs["bottom"][4:]).abs().max() > 0.01) == learned  # it depends on the top
    z = model.embed(index)
    cost = model.cost(index)
    joint = [-model.reconstruction(each.expand(16, -1, -1, -1), image)[0] - c for each, c in zip(z, cost)]
    log_prob = torch.stack(joint).logsumexp(0)
    assert float(log_prob.exp().sum()) == pytest.approx(1, abs=1e-6)
    bound = model.bound(image)
    assert (bound <= log_prob + 1e-12).all() and (log_prob - bound).mean() > 0.01
    parts = model.held_out().ask("elbo", image, None)
    nats = model.held_out().ask("code_nats", image, None)
    assert torch.allclose(parts[:, 1], nats.sum(1)) and torch.allclose(-parts.sum(1), bound) and nats.shape == (16, 2)
    assert model.held_out().kind == "bound" and dict(model.held_out().maps) == {"top": 2, "bottom": 2}


def test_the_top_is_half_as_large_rounded_up_and_the_bottom_knows_it():
    model, image = vqvae2(), torch.rand(5, 1, 28, 12).round() * 2 - 1
    top, bottom = model.tokens(image)
    assert top.shape == (5, 4, 2) and bottom.shape == (5, 7, 3) and model.embed((top, bottom)).shape == (5, 4, 7, 3)
    assert torch.equal(model.vectors()["top"][top].movedim(3, 1)[..., 0, 0], model.embed((top, bottom))[:, :2, 0, 0])
    tops = torch.arange(8.0).view(1, 1, 4, 2)
    assert enlarged(tops, torch.zeros(1, 1, 7, 3))[0, 0, 2:4].tolist() == [[2.0, 2.0, 3.0]] * 2
    features = model.encoder.features(image)
    values = [model.quantiser["top"].lookup(each) for each in (top, (top + 5) % 12)]
    below = [model.quantiser["bottom"](model.encoder.bottom(features, each)).number for each in values]
    assert torch.equal(below[0], bottom) and not torch.equal(*below)


@pytest.mark.parametrize("learning", ["ema", "gradient"])
def test_every_part_learns_from_what_it_should(learning):
    """The reconstruction reaches both encoders and no codebook; commitments the encoders, codebook terms theirs."""
    model = vqvae2(quantiser=VQ(5, 3, learning=learning)).train()
    model.fit_data((torch.rand(40, 1, 28, 12) * 255).to(torch.uint8))
    image = torch.rand(4, 1, 28, 12).round() * 2 - 1
    terms = VQVAE2Loss().autoencoder(model, Batch(image))
    parts = {
        "top": model.encoder.top, "details": model.encoder.details, "features": model.encoder.features,
        "decoder": model.decoder, "top codes": model.quantiser["top"], "bottom codes": model.quantiser["bottom"],
    }  # fmt: skip

    def reached(term: Tensor) -> set[str]:
        found = set()
        for name, part in parts.items():
            weights = list(part.parameters())
            slopes = torch.autograd.grad(term, weights, retain_graph=True, allow_unused=True) if weights else ()
            if any(slope is not None and bool(slope.any()) for slope in slopes):
                found.add(name)
        return found

    expected = {
        "reconstruction": {"top", "details", "features", "decoder"},
        "commitment_top": {"top", "features"},
        "commitment_bottom": {"top", "details", "features"},  # the bottom's vectors see the top's codes
    }
    if learning == "gradient":
        expected |= {"codebook_top": {"top codes"}, "codebook_bottom": {"bottom codes"}}
    learned = {name: reached(term) for name, term in terms.items() if term.requires_grad}
    assert learned == expected
    prior = VQVAE2Loss().prior(model, Batch(image, torch.tensor([0, 1, 2, 0])))
    assert set(prior) == {"code_nats_top", "code_nats_bottom"}
    for name, own, other in (("top", "prior_network", "bottom_prior"), ("bottom", "bottom_prior", "prior_network")):
        for child, wanted in ((own, True), (other, False), ("encoder", False)):
            weights = [*getattr(model, child).parameters()]
            slopes = torch.autograd.grad(prior[f"code_nats_{name}"], weights, retain_graph=True, allow_unused=True)
            assert any(slope is not None for slope in slopes) == wanted, (name, child)


@torch.no_grad()
def test_samples_are_decoded_from_bottoms_of_their_tops_and_every_sampler_draws_them():
    model = vqvae2().double()
    model.enter(True)
    wild(model.prior_network), wild(model.bottom_prior)
    seed = lambda: torch.Generator().manual_seed(3)  # noqa: E731
    label = torch.arange(3).repeat(4)
    drawn = model.sample(12, label=label, generator=seed())
    generator = seed()
    top = model.grid.level(model.prior_network.sample(12, label=label, generator=generator)).long()[:, 0]
    noise = model.bottom_prior.network.noise(12, generator)
    given = model.bottom_prior.given(top, label, noise)
    below = model.bottom_prior.network.from_noise(noise, given, "naive")
    index = top, model.grid.level(below).long()[:, 0]
    assert torch.equal(drawn, model.picture(model.embed(index))) and len(index[1].unique()) > 6
    for sampler in ("naive", "cache", "jacobi"):
        model.set_sampling(sampler=sampler)
        assert torch.equal(model.sample(12, label=label, generator=seed()), drawn)
    model.set_sampling(temperature=0.1)
    assert not torch.equal(model.sample(12, label=label, generator=seed()), drawn)
    assert not torch.equal(model.sample(12, label=label.flip(0), generator=seed()), drawn)


def test_fixed_levels_are_met_by_white_vectors_of_both_levels():
    model = vqvae2(quantiser=FSQ([4, 3]))
    pixels = (torch.rand(400, 1, 28, 12) * 255).to(torch.uint8)
    model.fit_data(pixels)
    for z, found in model.quantise(scaled(pixels)).values():
        assert torch.allclose(torch.cov(z.movedim(1, 3).flatten(0, 2).T), torch.eye(2), atol=0.02)
        assert len(found.number.unique()) == 12


def test_codebooks_start_at_the_data_and_follow_their_own_vectors():
    model = vqvae2(quantiser=VQ(5, 3, restart=0, decay=0.0)).train()
    model.fit_data((torch.rand(40, 1, 28, 12) * 255).to(torch.uint8))
    top, bottom = (model.quantiser[name].codebook.clone() for name in ("top", "bottom"))
    assert not torch.equal(top, bottom)
    image = torch.rand(4, 1, 28, 12).round() * 2 - 1
    coded = model.quantise(image)
    (phase, *_) = VQVAE2Loss().phases(model)
    VQVAE2Loss().autoencoder(model, Batch(image))
    assert len(phase.statistics(model)) == 6
    phase.after(model)
    for name in ("top", "bottom"):
        z, found = coded[name]
        rows, number = z.movedim(1, 3).flatten(0, 2), found.number.flatten()
        for code in number.unique().tolist():
            mean = rows[number == code].mean(0)
            assert torch.allclose(model.quantiser[name].codebook[code], mean, rtol=1e-3, atol=1e-4)


def test_both_stages_train_alone_without_waiting_and_measure_both_maps():
    parts = build(compose("train", overrides("vqvae2", "images=32", "model.autoencoder=0.5")))
    seen = []
    with NoHostSync():
        while parts.images < parts.total:
            before = {key: value.clone() for key, value in parts.model.state_dict().items()}
            run_turn(parts, Silent(), measure=True)
            state = parts.model.state_dict().items()
            seen.append({key.partition(".")[0] for key, value in state if (value != before[key]).any().tolist()})
    assert seen == [{"encoder", "decoder"}] * 2 + [{"prior_network", "bottom_prior"}] * 2
    found = parts.loss.measurements(parts.model, parts.loader.next())
    each = {name: float(ask().detach()) for name, ask in found.items()}
    assert each["codes_alive"] == min(each["codes_alive_top"], each["codes_alive_bottom"]) > 0
    assert each["codes_used"] == min(each["codes_used_top"], each["codes_used_bottom"])
    assert each["uniform_nats"] == pytest.approx(20 * torch.tensor(12.0).log().item(), rel=1e-6)
    assert 0 < each["code_nats"] < 2 * each["uniform_nats"]


@pytest.mark.parametrize("at", [24, 40])
def test_either_stage_resumes_bit_for_bit_with_both_codebooks(at, tmp_path):
    words = [word for word in overrides("vqvae2") if "quantiser" not in word]
    words += [*VECTORS, "images=64", "eval.every=0", "samples.every=0", "model.autoencoder=0.5"]
    parts = build(compose("train", words))
    while parts.images < at:
        run_turn(parts, Silent(), measure=True)
    path = tmp_path / "checkpoints" / checkpoint.name(at)
    checkpoint.save(path, parts.state())
    while parts.images < parts.total:
        run_turn(parts, Silent(), measure=True)
    torch.manual_seed(999)
    again = build(compose("train", [*words, f"resume={path}"]))
    again.restore(checkpoint.load(path))
    assert again.model.learned == (at > 32)
    while again.images < again.total:
        run_turn(again, Silent(), measure=True)
    whole, resumed = tensors(parts.state()), tensors(again.state())
    assert {f"model.quantiser.{name}.codebook" for name in ("top", "bottom")} <= whole.keys() == resumed.keys()
    assert [key for key in whole if not torch.equal(whole[key], resumed[key])] == []


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: vqvae2(PLAIN), "PixelCNN cannot see the codes of the top; use prior@model.prior=gated_pixelcnn"),
        (lambda: vqvae2(spec=ImageSpec(1, 10, 8, levels=2)), "8x10 does not divide by 4"),
        (lambda: vqvae2(UniformCodes).set_sampling(temperature=0.5), "uniform and has neither"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(make, says):
    with pytest.raises(UsageError, match=says) as error:
        make()
    assert "\n" not in str(error.value)


def test_uniform_priors_need_no_second_stage():
    model = vqvae2(UniformCodes)
    assert model.stage(1.0) is False and not model.conditional and model.sample(2).shape == (2, 1, 28, 12)
    assert [phase.name for phase in VQVAE2Loss().phases(model)] == ["autoencoder"]
