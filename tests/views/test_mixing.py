"""The style-mixing matrix, and walks between styles."""

import pytest
import torch

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.dcgan import DCGAN
from gancli.models.sampling import finished
from gancli.models.stylegan2 import StyleGAN2
from gancli.views.base import RunData
from gancli.views.interpolation import Interpolation
from gancli.views.mixing import Mixing, mixed

DATA = RunData(lambda: None)


@pytest.fixture(scope="module")
def net() -> StyleGAN2:
    torch.manual_seed(0)
    return StyleGAN2(ImageSpec(1, 32, 32, 3), 6, 4, 2, conditional=True).eval()


def pictures(view, net):
    return view.draw(net, DATA, n=20, seed=1, batch_size=8)[""]


def test_cells_have_the_styles_of_their_column_in_the_chosen_layers(net):
    found = pictures(Mixing(sources=3, rows=2, styles="2-5", label=1), net)
    assert len(found.raw) == 3 + 2 * 4 and found.image.ndim == 3
    ws = net.style(net.latent(5, torch.Generator().manual_seed(1)), torch.ones(5, dtype=torch.int64))
    sources, rows = found.raw[:3], found.raw[3:].unflatten(0, (2, 4))
    assert torch.equal(sources, finished(net, net.synthesise(ws[:3]))) and torch.equal(
        rows[:, 0], finished(net, net.synthesise(ws[3:]))
    )
    cell = torch.cat([ws[4:, :2], ws[1:2, 2:5], ws[4:, 5:]], 1)
    assert torch.equal(rows[1, 2], finished(net, net.synthesise(cell))[0])


def test_the_blocks_are_a_third_of_the_layers_each_one_below_the_other(net):
    view = Mixing(sources=2, rows=1)
    assert list(view._blocks(8).values()) == [(0, 3), (3, 5), (5, 8)] and list(view._blocks(8))[0] == "coarse 0-2:"
    assert list(view._blocks(4)) == ["coarse 0:", "middle 1-2:", "fine 3:"]  # StyleGAN2 at 8 pixels
    found = pictures(view, net)
    assert len(found.raw) == 2 + 3 * 3
    assert all(torch.equal(found.raw[2], found.raw[i]) for i in (5, 8))  # each block begins with the same image


def test_all_layers_of_the_column_are_the_column_and_no_layers_the_row(net):
    found = pictures(Mixing(sources=2, rows=1, styles=[0, 8], label=0), net)
    assert torch.equal(found.raw[3:5], found.raw[:2])
    ws = torch.randn(1, 8, 6)
    assert torch.equal(mixed(ws, ws, 2, 5), ws)


@pytest.mark.parametrize("styles", ["0-9", "3-3", "2", "a-b", [1], [-1, 2], "0-2-4"])
def test_what_are_no_layers_is_refused_in_one_line(net, styles):
    with pytest.raises(UsageError, match=r"0 to 8, such as view.styles=0-2") as error:
        pictures(Mixing(styles=styles), net)
    assert "\n" not in str(error.value)


def test_walks_between_styles_are_straight_and_begin_and_end_at_the_images_of_the_latents(net):
    raw = {space: torch.cat(list(pictures(Interpolation(5, 2, space), net).raw.each)) for space in (None, "w", "z")}
    assert torch.equal(raw[None], raw["w"]) and not torch.equal(raw["w"], raw["z"])
    ends = net.style(net.latent(8, torch.Generator().manual_seed(1)), torch.full((8,), 2))
    middle = finished(net, net.synthesise((ends[:1] + ends[1:2]) / 2))
    assert (raw["w"][2].int() - middle[0].int()).abs().max() <= 1
    for i in (0, 4):
        assert (raw["w"][i].int() - raw["z"][i].int()).abs().max() <= 1


def test_other_models_have_no_styles():
    plain = DCGAN(ImageSpec(1, 8, 8), width=4).eval()
    assert not Mixing.suits(plain)
    with pytest.raises(UsageError, match="space=w: DCGAN has no styles"):
        pictures(Interpolation(5, None, "w"), plain)
