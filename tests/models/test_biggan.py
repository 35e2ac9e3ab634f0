"""BigGAN against its definition: hierarchy, gains, shared classes, attention, standing statistics, averages."""

import pytest
import torch
from helpers import compose, overrides
from torch import nn
from torch.nn.functional import relu
from torch.nn.utils.parametrize import is_parametrized

from gancli.data.spec import ImageSpec
from gancli.models.biggan import STANDING, BigGAN
from gancli.nn.attention import SelfAttention2d
from gancli.nn.norm import LinearBatchNorm2d, stand_, statistics
from gancli.training.build import build
from gancli.training.ema import EMA

SPEC = ImageSpec(1, 16, 16, 5)  # two blocks: latents of three parts
CIFAR = ImageSpec(3, 32, 32, 10)


def tiny(**more) -> BigGAN:
    torch.manual_seed(0)
    return BigGAN(SPEC, **{"latent_dim": 6, "width": 4, "discriminator_width": 4, "shared": 3, **more})


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained() -> BigGAN:
    """A model whose statistics are those of its untruncated images."""
    model = tiny().train()
    with torch.no_grad():
        for _ in range(50):
            model.sample(16)
    return model.eval()


def test_the_cifar_configuration_counts_the_releases_weights():
    """By hand: linear and three blocks of 256 with tables of 10 classes; four blocks down, linear with bias, table."""
    w, k = 256, 10
    block = 2 * (9 * w * w + w) + w * w + w
    model = BigGAN(CIFAR, 128, w, w, shared=0, hierarchical=False, init="normal")
    count = lambda net: sum(p.numel() for p in net.parameters())  # noqa: E731
    tables = 3 * 2 * 2 * k * w
    assert count(model.generator) == 129 * 16 * w + 3 * block + tables + 2 * w + 27 * w + 3
    first = 27 * w + w + 9 * w * w + w + 3 * w + w
    assert count(model.discriminator) == first + block + 2 * 2 * (9 * w * w + w) + w + 1 + k * w
    weights = model.generator.blocks[0].conv1.parametrizations.weight.original
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    assert (model.generator.blocks[0].norm1.scale.weight == 1).all()


def test_each_part_of_the_latents_enters_its_block_and_no_other():
    model, label = tiny().eval(), torch.tensor([1, 2])
    z = model.latent(2, seeded())
    seen: dict[str, torch.Tensor] = {}
    gen = model.generator
    gen.start.register_forward_pre_hook(lambda _, x: seen.__setitem__("start", x[0]))
    for i, block in enumerate(gen.blocks):
        block.register_forward_pre_hook(lambda _, x, i=i: seen.__setitem__(f"block {i}", x[1]))
    with torch.no_grad():
        gen(z, label)
    rows = gen.shared(label)
    assert torch.equal(seen["start"], z[:, :2])
    for i in range(2):
        assert torch.equal(seen[f"block {i}"], torch.cat([rows, z[:, 2 * i + 2 : 2 * i + 4]], 1))


def test_a_gain_is_one_plus_a_linear_map_and_one_for_a_vector_of_zeros():
    torch.manual_seed(0)
    norm, x, c = LinearBatchNorm2d(4, 3).double(), torch.randn(8, 4, 2, 2).double(), torch.randn(8, 3).double()
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    normal = (x - mean) / (var + 1e-5).sqrt()
    gain, shift = c @ norm.gain.weight.T, c @ norm.shift.weight.T
    expected = (1 + gain)[:, :, None, None] * normal + shift[:, :, None, None]
    assert torch.allclose(norm(x, c), expected, atol=1e-12)
    assert torch.allclose(norm(x, torch.zeros_like(c)), normal, atol=1e-12)


def test_classes_are_mixed_by_their_shared_rows():
    model = tiny().eval()
    gen, z = model.generator, model.latent(1, seeded()).expand(3, -1)
    a, b = gen.shared(torch.tensor(1)), gen.shared(torch.tensor(4))
    mixed = torch.stack([torch.lerp(a, b, t) for t in (0.0, 0.5, 1.0)])
    with torch.no_grad():
        images = gen.draw(z, mixed)
        ends = gen(z[:2], torch.tensor([1, 4]))
    assert torch.allclose(images[[0, 2]], ends, atol=1e-6)
    assert not torch.allclose(images[1], images[0], atol=1e-3) and not torch.allclose(images[1], images[2], atol=1e-3)


def test_all_weights_are_spectrally_normalised_but_for_the_generators_table():
    model = tiny(attention=8, width=8, discriminator_width=8)
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear, nn.Embedding)):
            assert is_parametrized(layer) == (name != "generator.shared"), name


def test_attention_is_the_identity_at_first_and_its_formula_later():
    torch.manual_seed(0)
    layer, x = SelfAttention2d(8).double(), torch.randn(2, 8, 5, 6).double()
    assert torch.equal(layer(x), x)
    layer.gamma.data.fill_(0.7)
    query, key, value = (
        torch.einsum("oc,nchw->nohw", m.weight[:, :, 0, 0], x) for m in (layer.query, layer.key, layer.value)
    )
    pool = lambda t: t[:, :, :4].unflatten(2, (2, 2)).unflatten(4, (3, 2)).amax((3, 5)).flatten(2)  # noqa: E731
    beta = torch.einsum("ncp,ncq->npq", query.flatten(2), pool(key)).softmax(2)
    seen = torch.einsum("npq,ncq->ncp", beta, pool(value)).unflatten(2, (5, 6))
    expected = 0.7 * torch.einsum("oc,nchw->nohw", layer.output.weight[:, :, 0, 0], seen) + x
    assert torch.allclose(layer(x), expected, atol=1e-12)


def test_attention_comes_after_the_blocks_of_its_height():
    model = tiny(attention=8, width=8, discriminator_width=8)
    assert list(model.generator.attend) == ["0"] and isinstance(model.discriminator.trunk[1], SelfAttention2d)
    heights = {}
    for name, layer in model.named_modules():
        if isinstance(layer, SelfAttention2d):
            layer.register_forward_hook(lambda _, x, y, name=name: heights.__setitem__(name, x[0].shape[2]))
    label = torch.tensor([0, 1])
    model.score(model.generate(model.latent(2), label), label)
    assert len(heights) == 2 and set(heights.values()) == {8}


@pytest.mark.parametrize(
    "more, says",
    [
        ({"latent_dim": 7}, "latent_dim=7 cannot be split among 3 parts .* use latent_dim=6"),
        ({"shared": 0}, "hierarchical=true needs a class embedding"),
        ({"attention": 4}, "attention=4: the feature maps have heights 8, 16"),
        ({"attention": 8}, "width of 8 or more"),
    ],
)
def test_what_does_not_fit_is_refused(more, says):
    with pytest.raises(ValueError, match=says):
        tiny(**more)


def test_standing_statistics_are_those_of_a_slow_twin_in_float64():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)
    ).double()
    batches = [torch.randn(6, 2, 5, 5).double() * (i + 1) for i in range(4)]
    expected: dict[str, list] = {"1.running_mean": [], "1.running_var": [], "4.running_mean": [], "4.running_var": []}
    with torch.no_grad():
        for x in batches:
            h = net[0](x)
            for i in (1, 4):
                flat = h.transpose(0, 1).flatten(1)
                expected[f"{i}.running_mean"].append(flat.mean(1))
                expected[f"{i}.running_var"].append(flat.var(1, correction=1))
                normal = (h - flat.mean(1)[:, None, None]) / (flat.var(1, correction=0) + 1e-5).sqrt()[:, None, None]
                h = net[3](relu(normal)) if i == 1 else h
    net.eval()
    each = iter(batches)
    stand_(net, lambda: net(next(each)), len(batches))
    for name, values in expected.items():
        assert torch.allclose(statistics(net)[name], torch.stack(values).mean(0), atol=1e-12), name
    assert not net[1].training and net[1].momentum == 0.1 and net[1].num_batches_tracked == len(batches)


def test_truncation_stands_on_its_own_statistics_and_null_restores_the_trained_ones():
    model = trained()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    plain = model.sample(4, generator=seeded())
    model.set_sampling(truncation=0.5)
    assert model.batch_norm == "standing"
    now = model.state_dict()
    moved = {key for key in before if not torch.equal(before[key], now[key])}
    assert moved == {f"generator.{key}" for key in statistics(model.generator)}
    assert not any(module.training for module in model.modules())
    passes, n, seed = STANDING
    twin, generator = trained(), seeded(seed)
    twin.truncation = 0.5
    inputs = []
    twin.generator.norm.register_forward_pre_hook(lambda _, x: inputs.append(x[0]))
    for layer in twin.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.train()
    with torch.no_grad():
        for _ in range(passes):
            twin.sample(n, generator=generator)
    mean = torch.stack([x.double().mean((0, 2, 3)) for x in inputs]).mean(0)
    assert torch.allclose(model.generator.norm.running_mean.double(), mean, atol=1e-6)
    first = model.sample(4, generator=seeded())
    model.set_sampling(truncation=1.0)  # from the trained statistics again, not from those of 0.5
    model.set_sampling(truncation=0.5)
    assert torch.equal(model.sample(4, generator=seeded()), first)
    model.set_sampling()
    assert model.batch_norm == "eval"
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(model.sample(4, generator=seeded()), plain)


def test_the_average_keeps_unit_vectors_and_counters():
    model = tiny().train()
    ema = EMA(model, half_life=1000)
    ema.images = 10**6
    for step in range(3):
        with torch.no_grad():
            for p in model.generator.parameters():
                p.add_(torch.randn(p.shape, generator=seeded(step)))
            model.sample(4)
        ema.update(500)
    own, mean = model.generator.state_dict(), ema.model.generator.state_dict()
    vectors = [key for key in own if key.endswith(("._u", "._v"))]
    assert len(vectors) == 2 * sum(map(is_parametrized, model.generator.modules())) > 0
    for key in vectors:
        assert torch.equal(mean[key], own[key]) and mean[key].norm().item() == pytest.approx(1, abs=1e-5)
    assert mean["norm.num_batches_tracked"] == own["norm.num_batches_tracked"] == 3
    assert not torch.equal(mean["shared.weight"], own["shared.weight"])


def test_the_small_model_is_regularised_and_the_papers_is_the_release():
    small, paper = (compose("train", [f"model={name}", "data=digits"]) for name in ("biggan", "biggan_paper"))
    assert list(small.loss.generator_penalties) == ["orthogonal_relaxed"]
    assert not paper.loss.get("generator_penalties")
    assert (paper.batch_size, paper.loss.repeat, paper.optimizer.lr) == (50, 4, 2e-4)
    assert list(paper.optimizer.betas) == [0.0, 0.999]
    phases = build(compose("train", overrides("biggan"))).loss.phases(tiny())
    assert [len(phase.terms) for phase in phases] == [1, 2]
