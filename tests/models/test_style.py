"""Style-based models: truncation against a twin, mixing, the mapping's scale and classes."""

import pytest
import torch
from helpers import NoHostSync, tensors

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models import style as styles
from gancli.models.style import crossed
from gancli.models.stylegan2 import StyleGAN2
from gancli.nn.mapping import Mapping


def model(**kwargs) -> StyleGAN2:
    torch.manual_seed(0)
    return StyleGAN2(ImageSpec(1, 8, 8, 3), latent_dim=6, width=4, mapping=2, **kwargs).eval()


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(styles, "MEAN_OF", 500)


def test_truncation_by_1_is_the_identity_bit_for_bit_and_by_0_one_image():
    net = model()
    whole, z = net.sample(5, generator=torch.Generator().manual_seed(1)), net.latent(5)
    for psi in (1, 1.0, None):
        net.set_sampling(truncation=psi)
        assert torch.equal(net.sample(5, generator=torch.Generator().manual_seed(1)), whole)
    net.set_sampling(truncation=0)
    assert len(net.generate(z).unique(dim=0)) == 1
    net.set_sampling(truncation=0.5)
    assert len(net.generate(z).unique(dim=0)) == 5 and not torch.equal(net.generate(z), whole)


def test_truncated_styles_are_those_of_a_twin_in_layers_below_the_cutoff():
    net = model()
    z = torch.randn(500, 6, generator=torch.Generator().manual_seed(styles.MEAN_SEED))
    mean = net.double().generator.mapping(z.double()).mean(0)
    torch.testing.assert_close(net.mean_style()[0], mean)
    few = torch.randn(3, 6, dtype=torch.float64)
    ws = net.style(few)
    net.set_sampling(truncation=0.3, cutoff=1)
    assert torch.equal(net.style(few)[:, 1:], ws[:, 1:])
    torch.testing.assert_close(net.style(few)[:, 0], mean + 0.3 * (ws[:, 0] - mean))


def test_each_class_has_a_mean_of_its_own():
    net = model(conditional=True)
    net.set_sampling(truncation=0.0)
    label = torch.tensor([0, 1, 2, 0, 1, 2])
    images = net.sample(6, label=label)
    assert len(images.unique(dim=0)) == 3 and torch.equal(images[:3], images[3:])
    z = torch.randn(500, 6, generator=torch.Generator().manual_seed(styles.MEAN_SEED))
    torch.testing.assert_close(net.mean_style()[2], net.generator.mapping(z, torch.full((500,), 2)).mean(0))


def test_the_mean_follows_the_weights():
    net = model()
    before = net.mean_style()
    assert net.mean_style() is before
    with torch.no_grad():
        torch._foreach_lerp_(
            list(net.generator.mapping.parameters()), [p + 1 for p in net.generator.mapping.parameters()], 0.5
        )
    assert not torch.equal(net.mean_style(), before)


@pytest.mark.parametrize(
    "options, said", [({"cutoff": 2}, "add truncation"), ({"truncation": 0.5, "cutoff": 5}, "use 1 to 4")]
)
def test_a_cutoff_without_effect_or_beyond_the_layers_is_refused(options, said):
    with pytest.raises(UsageError, match=said):
        model().set_sampling(**options)


def test_mixing_is_for_training_and_equal_latents_mix_to_themselves(monkeypatch):
    net = model(mixing=1.0)
    z = net.latent(4)
    assert torch.equal(net.mixed_style(z), net.style(z))  # eval mode
    net.train()
    ws = net.mixed_style(z)
    assert torch.equal(ws[:, 0], net.style(z)[:, 0]) and not torch.equal(ws[:, -1], net.style(z)[:, -1])
    monkeypatch.setattr(torch, "randn_like", lambda like: z)
    assert torch.equal(net.mixed_style(z), net.style(z))


@pytest.mark.parametrize("mixing", [0.0, 0.4])
def test_a_share_of_batches_mixes_and_every_cutoff_comes(mixing):
    net = model(mixing=mixing).train()
    z = net.latent(1)
    kept = [int((net.mixed_style(z) == net.style(z)).all(2).sum()) for _ in range(300)]
    assert sum(each < 4 for each in kept) / 300 == pytest.approx(mixing, abs=0.1)  # 3.5 standard deviations
    assert set(kept) == ({1, 2, 3, 4} if mixing else {4})


def test_mixing_and_training_noise_do_not_wait_for_the_device():
    net = model(mixing=0.9).train()
    with NoHostSync():
        net.generate(net.latent(4)).sum().backward()


def test_a_crossing_takes_the_first_below_the_cutoff():
    first, second = torch.zeros(2, 4, 3), torch.ones(2, 4, 3)
    for cutoff in (1, torch.tensor(1)):
        assert crossed(first, second, cutoff)[0, :, 0].tolist() == [0, 1, 1, 1]


def test_the_mapping_ignores_the_scale_of_z_and_keeps_the_mean_square():
    torch.manual_seed(0)
    net = Mapping(16, 32, 3)
    z = torch.randn(200, 16)
    torch.testing.assert_close(net(5 * z), net(z), rtol=1e-4, atol=1e-5)
    assert net(z).square().mean().item() == pytest.approx(1, rel=0.4)  # each layer keeps the mean square


def test_the_mapping_tells_classes_apart_and_needs_no_latents():
    net = Mapping(0, 8, 2, classes=3)
    out = net(None, torch.tensor([0, 1, 0]))
    assert out.shape == (3, 8) and torch.equal(out[0], out[2]) and not torch.equal(out[0], out[1])
    assert tensors(Mapping(4, 8, 2).state_dict()).keys() < tensors(Mapping(4, 8, 2, classes=3).state_dict()).keys()
