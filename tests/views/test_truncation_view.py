"""The view of truncation: rows of seeds, columns of values, and a model that is left as it was."""

import numpy as np
import pytest
import torch

from gancli.data.spec import ImageSpec, quantise
from gancli.errors import UsageError
from gancli.models.biggan import BigGAN
from gancli.models.dcgan import DCGAN
from gancli.models.sngan import SNGAN
from gancli.models.stylegan2 import StyleGAN2
from gancli.models.toy_gan import ToyGAN
from gancli.views import choice
from gancli.views.base import RunData
from gancli.views.truncation import Truncation

DATA = RunData(lambda: None)


def model() -> BigGAN:
    torch.manual_seed(0)
    return BigGAN(ImageSpec(1, 8, 8, 3), latent_dim=8, width=4, discriminator_width=4, shared=4).eval()


def test_a_row_is_a_seed_and_a_column_a_value():
    net = model()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    picture = Truncation([2.0, 0.5, None]).draw(net, DATA, n=13, seed=3, batch_size=64)[""]
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items()) and net.truncation is None
    assert picture.raw.shape == (12, 1, 8, 8) and picture.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [0] * 3
    columns = picture.raw.unflatten(0, (4, 3))
    for i, t in enumerate((2.0, 0.5, None)):
        net.set_sampling(truncation=t)
        with torch.no_grad():
            expected = net.sample(4, label=torch.tensor([0, 1, 2, 0]), generator=torch.Generator().manual_seed(3))
        assert torch.equal(columns[:, i], quantise(expected))
    net.set_sampling()


def test_columns_have_heads_and_null_is_the_models_own_list():
    net = model()
    picture = Truncation().draw(net, DATA, n=14, seed=0, batch_size=8)[""]
    assert picture.raw.shape[0] == 14 and len(net.truncations) == 7
    bare = Truncation([1.0, 0.5]).draw(net, DATA, n=2, seed=0, batch_size=8)[""].image
    assert bare.shape[0] > 56 + 4 + 12 and (np.asarray(bare[:20]) < 255).any()  # letters above the images


def test_it_suits_images_whose_sampling_truncates():
    spec, points = ImageSpec(1, 8, 8), ImageSpec(2, 1, 1, points=True)
    assert Truncation.suits(SNGAN(spec, width=4)) and not Truncation.suits(DCGAN(spec, width=4))
    assert not Truncation.suits(ToyGAN(points, width=4))
    with pytest.raises(UsageError, match="whose sampling takes truncation, which DCGAN is not"):
        choice.check_suits(Truncation(), DCGAN(spec, width=4))


def test_numbers_that_do_not_fill_rows_and_empty_lists_are_refused():
    with pytest.raises(UsageError, match="n=5: each row has 3 images, one per value of truncation; use n=6"):
        Truncation([1, 2, 3]).check_number(5, DATA)
    Truncation([1, 2, 3]).check_number(6, DATA)
    with pytest.raises(ValueError, match="values is empty"):
        Truncation([])


def test_the_columns_of_styles_are_factors_up_to_one():
    """A factor of 2 or 4, which are thresholds that suit latents, leaves the styles that training has seen."""
    spec = ImageSpec(1, 8, 8)
    styled = StyleGAN2(spec, width=4, latent_dim=4, mapping=1)
    assert styled.truncations[0] == 1 and max(styled.truncations) == 1 and min(styled.truncations) > 0
    assert max(SNGAN(spec, width=4).truncations) > 2
