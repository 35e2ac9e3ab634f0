"""The lecture on codes in a plane: nearest codes, convex hulls, and codes that die or live."""

import pytest
import torch
from helpers import lecture

from gancli.data.digits import Digits
from gancli.lectures import vq_codes
from gancli.lectures.vq_codes_figure import cells, hull, inside
from gancli.nn.codebook import VQ
from gancli.nn.quantisers import FSQ


def test_a_cell_is_where_a_code_is_the_nearest_one():
    """Two codes part the plane at their perpendicular bisector; of a lattice all inner cells are alike."""
    x, y = torch.linspace(-3, 3, 61), torch.linspace(-2, 2, 41)
    codes = torch.tensor([[1.03, 2.01], [-0.5, 0.52]])
    left = (codes[0] - codes[1]) @ torch.stack(torch.meshgrid(x, y, indexing="xy")).flatten(1)
    nearer = (left > (codes[0].square().sum() - codes[1].square().sum()) / 2).view(41, 61)
    found = cells(codes, x, y)
    assert torch.equal(found == 0, nearer) and found.shape == (41, 61)
    lattice = FSQ([5, 5]).vectors()
    middles = torch.linspace(-1.2, 1.2, 241)  # cells are .5 wide
    counts = cells(lattice, middles, middles).flatten().bincount(minlength=25).view(5, 5)
    inner = counts[1:4, 1:4]
    assert inner.max() - inner.min() <= 4 * 51 and counts.sum() == 241**2
    assert cells(lattice, torch.tensor([0.26]), torch.tensor([0.74])).item() == 5 * 3 + 3


def test_the_hull_of_a_square_is_its_corners_and_holds_what_is_a_mean_of_them():
    corners = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
    points = torch.cat([corners, torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.3, 1.9]])])
    assert hull(points).tolist() == [0, 1, 2, 3]  # counter-clockwise, without the one on an edge
    generator = torch.Generator().manual_seed(0)
    cloud = torch.randn(40, 2, generator=generator)
    weight = torch.distributions.Dirichlet(torch.full((40,), 0.1)).sample((500,))
    outline = cloud[hull(cloud)]
    assert inside(weight @ cloud, outline).all() and inside(cloud, outline).all()
    centre = outline.mean(0)
    assert not inside(centre + 1.01 * (outline - centre), outline).any()
    turns = torch.stack([outline.roll(-1, 0) - outline, outline.roll(-2, 0) - outline.roll(-1, 0)])
    assert (turns[0, :, 0] * turns[1, :, 1] > turns[0, :, 1] * turns[1, :, 0]).all()  # always to the left


def test_relaxed_codes_lie_in_the_hull_and_move_to_a_corner_as_the_temperature_falls():
    torch.manual_seed(0)
    between, h = vq_codes.Relaxed(9, 0.1), torch.randn(300, 9)
    outline = between.vectors.detach()[hull(between.vectors)]
    far = []
    for tau in (10.0, 1.0, 0.01):
        z, largest = between.drawn(h, tau)
        assert inside(z, outline).all()
        far.append((z - between.vectors[largest]).norm(dim=1).mean().item())
    assert far[0] > far[1] > far[2] and far[2] < 0.05 < 0.5 < far[0]
    warm, _ = between.drawn(h, 1e4)
    assert torch.allclose(warm, between.vectors.mean(0).expand_as(warm), atol=0.01)


@pytest.fixture(scope="module")
def runs():
    image = torch.from_numpy(Digits().split("train").pixels).flatten(1).float() / 255
    found = {}
    for name, between in (
        ("random", vq_codes.Codebook(VQ(12, 2, restart=0.0), 40.0)),
        ("data", vq_codes.Codebook(VQ(12, 2, restart=0.05))),
    ):
        torch.manual_seed(0)
        found[name] = list(vq_codes.Autoencoder(between, 64).train_on(image, 60, 64))
    return found


def test_codes_without_vectors_stay_where_they_are_and_those_of_data_live(runs):
    looks = runs["random"]
    first, last = looks[0], looks[-1]
    never = torch.stack([torch.bincount(look.number, minlength=12) for look in looks]).sum(0) == 0
    assert 6 < never.sum() < 12 and last.images == 60 * 64
    assert torch.allclose(first.codes[never], last.codes[never], rtol=0.01)
    alive = torch.bincount(last.number, minlength=12) > 0
    assert ((first.codes - last.codes)[alive].norm(dim=1) > 1).any()
    assert vq_codes.of_run(runs["data"])["used"] > vq_codes.of_run(looks)["used"]
    for look in (last, runs["data"][-1]):
        nearest = torch.cdist(look.z, look.codes).argmin(1)
        assert (nearest == look.number).float().mean() > 0.995  # but for ties
    told = vq_codes.of_run(looks)
    assert told["codes"] == 12 and sum(told["shares"]) == pytest.approx(1) and told["perplexity"] <= told["used"]


@pytest.mark.parametrize(
    "wrong, says", [("lecture.sizes=[5]", "must be two"), ("lecture.looks=[0,2,1]", "three shares from 0 to 1")]
)
def test_what_cannot_be_drawn_is_refused(cli, wrong, says):
    answer = cli("train", "experiment=lecture/vq_codes", wrong, "runtime=cpu")
    assert answer.code == 2 and says in answer.err
    assert lecture("vq_codes")
