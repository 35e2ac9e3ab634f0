"""Models of codes: sums over all images and codes of a tiny one, priors, stages, and what is refused."""

import itertools
from functools import partial

import pytest
import torch
from helpers import NoHostSync, compose, options, overrides, run, tensors
from torch import Tensor, nn

from gancli.config import build_data
from gancli.data.spec import ImageSpec, scaled
from gancli.errors import UsageError
from gancli.losses.elbo import ELBO
from gancli.models.discrete import DiscreteLatents, UniformCodes
from gancli.models.gated_pixelcnn import GatedPixelCNN
from gancli.models.pixelcnn import PixelCNN
from gancli.models.vqvae import VQVAE
from gancli.nn.likelihoods import Bernoulli
from gancli.nn.quantisers import FSQ
from gancli.training import checkpoint
from gancli.training.build import build
from gancli.training.runtime import Runtime
from gancli.training.turn import run_turn

TINY = partial(GatedPixelCNN, width=4, blocks=2, head=4, kernel=3)
PLAIN = partial(PixelCNN, width=4, blocks=1, head=4, kernel=3)
SPEC = ImageSpec(1, 8, 8, num_classes=3, levels=2)
VECTORS = ["quantiser@model.quantiser=vq", "model.quantiser.codes=5", "model.quantiser.dim=3"]
WORDS = [word for word in overrides("vqvae") if "quantiser" not in word]


class Silent:
    def add(self, scalars): ...


class Blocks(DiscreteLatents):
    """Two codes for each 2x2 pixels of 2x6 binary images: whether most of them are white; a random decoder."""

    def __init__(self, prior) -> None:
        super().__init__(ImageSpec(1, 2, 6, levels=2), Bernoulli, prior, (2, 1, 3))
        self.encoder, self.decoder = nn.AvgPool2d(2), nn.ConvTranspose2d(1, 1, 4, 2, 1)

    def tokens(self, image: Tensor) -> Tensor:
        return (self.encoder(image)[:, 0] > 0).long()

    def embed(self, index: Tensor) -> Tensor:
        return index[:, None].double() * 4 - 2

    def decode(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.decoder(z)


def vqvae(prior=TINY, spec: ImageSpec = SPEC, **kwargs) -> VQVAE:
    torch.manual_seed(0)
    return VQVAE(spec, Bernoulli, FSQ([3, 4]), prior, **{"width": 4, "blocks": 1, "residual": 2, **kwargs}).eval()


@torch.no_grad()
@pytest.mark.parametrize("learned", [False, True])
def test_the_bound_is_below_the_likelihood_summed_over_all_codes(learned):
    """All 4,096 images and 8 maps of codes: sum_x sum_z p(x|z) p(z) = 1, and the bound is one term of log p(x)."""
    torch.manual_seed(0)
    model = Blocks(TINY).double().eval()
    model.enter(learned)
    for parameter in model.prior_network.parameters():
        nn.init.normal_(parameter, std=0.5)
    image = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=12)), dtype=torch.float64).view(-1, 1, 2, 6)
    index = torch.tensor(list(itertools.product((0, 1), repeat=3))).view(-1, 1, 3)
    cost = model.cost(index)
    assert float((-cost).exp().sum()) == pytest.approx(1, abs=1e-7)  # log K is float32
    assert (cost.std() > 0.1) == learned
    params = model.decode(model.embed(index))
    joint = [-model.likelihood.nll(each.expand(len(image), -1, -1, -1), image) - c for each, c in zip(params, cost)]
    log_prob = torch.stack(joint).logsumexp(0)
    assert float(log_prob.exp().sum()) == pytest.approx(1, abs=1e-7)
    bound = model.bound(image)
    assert (bound <= log_prob + 1e-12).all() and (log_prob - bound).mean() > 0.01
    assert torch.equal(bound, model.bound(image, k=9)) and torch.equal(bound, -model.held_out().nats(image, None))


@torch.no_grad()
def test_until_it_is_learned_the_prior_is_uniform_and_afterwards_it_is_that_of_the_codes():
    model, image, label = vqvae(), torch.rand(9, 1, 8, 8).round() * 2 - 1, torch.arange(9) % 3
    index = model.tokens(image)
    uniform = model.encode(image, label).cost
    assert torch.allclose(uniform, 4 * torch.tensor(12.0).log()) and "UniformCodes" in model.held_out().how
    model.enter(model.stage(0.5))
    maps = index[:, None] / 5.5 - 1
    assert torch.allclose(model.encode(image, label).cost, -model.prior_network.log_prob(maps, label), atol=1e-5)
    assert "GatedPixelCNN" in model.held_out().how and set(model.held_out().also) >= {"elbo", "codes", "pictures"}
    assert torch.equal(
        model.held_out().ask("codes", image, label).sum(0), torch.bincount(index.flatten(), minlength=12)
    )
    assert model.stage(0.39) is False and vqvae(UniformCodes).stage(1.0) is False


@torch.no_grad()
def test_samples_are_decoded_from_the_codes_that_the_prior_draws_of_their_class():
    model = vqvae()
    model.enter(True)
    nn.init.normal_(model.prior_network.net.first.bias.weight, std=5)  # the class matters
    seed = lambda: torch.Generator().manual_seed(3)  # noqa: E731
    label, other = torch.zeros(120, dtype=torch.int64), torch.ones(120, dtype=torch.int64)
    drawn = model.sample(120, label=label, generator=seed())
    assert not torch.equal(drawn, model.sample(120, label=other, generator=seed()))
    maps = model.prior_network.sample(120, label=label, generator=seed())
    index = ((maps + 1) * 5.5).round().long()[:, 0]
    assert torch.equal(drawn, model.picture(model.embed(index))) and len(index.unique()) > 6
    model.set_sampling(sampler="naive")
    assert torch.equal(model.sample(120, label=label, generator=seed()), drawn)
    model.set_sampling(temperature=0.1)
    assert not torch.equal(model.sample(120, label=label, generator=seed()), drawn)


def test_the_class_goes_to_priors_that_take_one():
    assert vqvae().conditional and not vqvae(PLAIN).conditional and not vqvae(UniformCodes).conditional
    assert not vqvae(conditional=False).conditional and not vqvae(spec=ImageSpec(1, 8, 8, levels=2)).conditional


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: vqvae(spec=ImageSpec(1, 10, 8, levels=2)), "8x10 does not divide by 4"),
        (lambda: vqvae(PLAIN, conditional=True), "this prior takes no class"),
        (lambda: vqvae(UniformCodes).set_sampling(temperature=0.5), "uniform and has neither"),
        (lambda: ELBO().check(vqvae()), "omit loss="),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(make, says):
    with pytest.raises(UsageError, match=says) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("prior", options("prior"))
def test_every_prior_trains_in_the_second_stage_alone_without_waiting(prior):
    sizes = {"uniform": [], "row_lstm": ["model.prior.width=4", "model.prior.layers=1", "model.prior.head=4"]}
    words = [word for word in overrides("vqvae", f"prior@model.prior={prior}") if "model.prior" not in word]
    small = sizes.get(prior, ["model.prior.width=4", "model.prior.blocks=1", "model.prior.head=4"])
    parts = build(compose("train", [*words, *small, f"prior@model.prior={prior}", "images=64"]))
    seen = []
    with NoHostSync():
        while parts.images < parts.total:
            before = {key: value.clone() for key, value in parts.model.state_dict().items()}
            run_turn(parts, Silent(), measure=True)
            state = parts.model.state_dict().items()
            seen.append({key.partition(".")[0] for key, value in state if (value != before[key]).any().tolist()})
    first, second = {"encoder", "decoder"}, {"prior_network"}
    assert seen == ([first] * 8 if prior == "uniform" else [first] * 4 + [second] * 4)


@pytest.mark.parametrize("at", [24, 40])
def test_either_stage_resumes_bit_for_bit_with_its_codebook(at, tmp_path):
    words = [*VECTORS, "images=64", "eval.every=0", "samples.every=0"]
    from_scratch = compose("train", [*WORDS, *words])
    parts = build(from_scratch)
    while parts.images < at:
        run_turn(parts, Silent(), measure=True)
    path = tmp_path / "checkpoints" / checkpoint.name(at)
    checkpoint.save(path, parts.state())
    while parts.images < parts.total:
        run_turn(parts, Silent(), measure=True)
    torch.manual_seed(999)
    again = build(compose("train", [*WORDS, *words, f"resume={path}"]))
    again.restore(checkpoint.load(path))
    assert again.model.learned == (at > 32)
    while again.images < again.total:
        run_turn(again, Silent(), measure=True)
    whole, resumed = tensors(parts.state()), tensors(again.state())
    assert whole.keys() == resumed.keys() and "model.quantiser.codebook" in whole
    assert [key for key in whole if not torch.equal(whole[key], resumed[key])] == []


def test_a_longer_run_goes_on_with_the_prior_and_a_checkpoint_knows_its_stage(tmp_path):
    run(tmp_path, "images=32", model="vqvae")
    assert checkpoint.rebuild(tmp_path).learned
    longer = build(compose("train", overrides("vqvae", "images=320", f"resume={tmp_path}")))
    longer.restore(checkpoint.load(tmp_path))  # a tenth of the run
    before = [step.updates for step in longer.steps]
    run_turn(longer, Silent(), measure=False)
    assert [step.updates - n for step, n in zip(longer.steps, before)] == [0, 1]


def test_a_codebook_and_the_decoder_start_at_the_data():
    parts = build(compose("train", [*WORDS, *VECTORS]))
    model, pixels = parts.model, torch.zeros(50, 1, 8, 8, dtype=torch.uint8)
    pixels[:25] = 255
    model.fit_data(pixels)
    assert model.decoder[-1].bias.sigmoid().item() == pytest.approx(0.5, abs=1e-6)
    z = model.encoder(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(-1, 1, 8, 8)).movedim(1, 3).flatten(0, 2)
    assert torch.cdist(model.quantiser.codebook, z).amin(1).min() < 1e-5


@pytest.mark.parametrize("model", ["vqvae", "vqvae2", "vqgan", "dvae"])
def test_the_rate_of_each_stage_falls_at_its_end(model):
    """The autoencoder's by a cosine over its share of the run; the prior's is constant in the first 70 % of the run."""
    parts = build(compose("train", overrides(model)))
    begins = parts.model.autoencoder

    def at(step: int, network: str, share: float) -> float:
        factor = parts.schedule(round(1000 * share), 1000).lr
        return parts.steps[step].planned(share, factor)[f"lr/{network}"]

    first = [at(0, "encoder", share) for share in (0.0, begins / 2, begins)]
    prior = [at(-1, "prior_network", share) for share in (begins, 0.7, 0.85, 1.0)]
    top = first[0]
    assert first == pytest.approx([top, (top + first[-1]) / 2, first[-1]]) and first[-1] < top / 19
    assert prior == pytest.approx([prior[0], prior[0], prior[0] / 2, 0.0]) and prior[0] > 0


LOOKUP_FREE = [*WORDS, "quantiser@model.quantiser=lfq", "model.quantiser.bits=3"]


@pytest.mark.parametrize("words", [overrides("vqvae"), LOOKUP_FREE], ids=["fsq", "lfq"])
def test_fixed_levels_are_met_by_white_vectors_of_the_untrained_encoder(words):
    model = build(compose("train", words)).model
    pixels = (torch.rand(300, 1, 8, 8) * 256).to(torch.uint8)
    model.fit_data(pixels)
    z = model.encoder(scaled(pixels)).movedim(1, 3).flatten(0, 2)
    assert torch.allclose(torch.cov(z.T), torch.eye(z.shape[1]), atol=0.02) and z.mean(0).abs().max() < 0.01
    assert len(model.tokens(scaled(pixels)).unique()) == model.levels


def test_what_a_codebook_follows_is_the_mean_over_processes(monkeypatch):
    """A stand-in for the others makes every statistic that of vectors at ten."""
    parts, messages = (
        build(compose("train", [*WORDS, *VECTORS, "model.quantiser.restart=0", "model.quantiser.decay=0"])),
        [],
    )

    def mean(self, tensors):
        messages.append(len(tensors))
        if len(tensors) == 3:
            tensors[0].fill_(1), tensors[1].fill_(10)

    monkeypatch.setattr(Runtime, "all_reduce", mean)
    parts.steps[0](parts.loader.next())
    assert messages == [len([*parts.model.encoder.parameters(), *parts.model.decoder.parameters()]), 3]
    assert torch.allclose(parts.model.quantiser.codebook, torch.tensor(10.0), rtol=1e-3)


def test_codes_of_colours_stay_in_use_while_the_decoder_learns_what_all_pixels_share():
    words = ["data=shapes", "data.n=256", "images=20k", "runtime.threads=1", "data.binarise=null", "runtime=cpu"]
    colours = ["likelihood@model.likelihood=logistic_mixture", "model.likelihood.components=1"]  # the hardest
    parts = build(compose("train", ["model=vqvae", *words, *colours]))
    for _ in range(16):
        run_turn(parts, Silent(), measure=False)
    pixels = build_data(parts.cfg.data)[0].split("train").pixels[:64]
    seen = parts.model.tokens(scaled(torch.from_numpy(pixels)))
    assert seen.unique().numel() > 30  # of 240; a decoder that starts with one spread for all data leaves 1
