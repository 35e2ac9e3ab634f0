"""Kernel density estimates against scikit-learn, integrals and sums over everything."""

import itertools
import math
import runpy

import pytest
import torch
from helpers import run
from sklearn.neighbors import KernelDensity

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.kde import KDE
from gancli.nn import kernels
from gancli.training import checkpoint

PLANE = ImageSpec(1, 1, 2)


def points(n: int = 60, seed: int = 0) -> torch.Tensor:
    """Two clusters of "images" of two pixels, (n, 1, 1, 2) uint8."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.tensor([[60.0, 90.0], [180.0, 150.0]])[torch.randint(2, (n,), generator=generator)]
    return (centre + 15 * torch.randn(n, 2, generator=generator)).clamp(0, 255).byte().view(n, 1, 1, 2)


def fitted(spec: ImageSpec = PLANE, pixels: torch.Tensor | None = None, **kwargs) -> KDE:
    model = KDE(spec, **kwargs)
    model.fit_data(points() if pixels is None else pixels)
    return model


def as_image(y: torch.Tensor) -> torch.Tensor:
    """(N, 2) on [0, 1] -> images in [-1, 1]."""
    return (y * 2 - 1).view(-1, 1, 1, 2)


@pytest.mark.parametrize("h", [0.02, 0.1, 0.7])
def test_the_gaussian_equals_scikit_learns(h):
    y = torch.rand(50, 2, dtype=torch.float64)
    twin = KernelDensity(bandwidth=h).fit(points().view(-1, 2).numpy() / 255)
    found = fitted(bandwidth=h).log_prob(as_image(y))
    assert torch.allclose(found, torch.from_numpy(twin.score_samples(y.numpy())), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kernel,h", [("gaussian", 0.05), ("box", 0.13)])
def test_densities_integrate_to_one(kernel, h):
    side = torch.linspace(-0.5, 1.5, 801, dtype=torch.float64)[:-1] + 1 / 800
    y = torch.cartesian_prod(side, side)
    p = fitted(kernel=kernel, bandwidth=h).log_prob(as_image(y)).exp()
    assert p.sum().item() * (2 / 800) ** 2 == pytest.approx(1, abs=2e-2 if kernel == "box" else 1e-6)


def test_the_box_counts_the_points_in_a_cube():
    model, h = fitted(kernel="box", bandwidth=0.2), 0.2
    y = torch.rand(200, 2, dtype=torch.float64)
    inside = ((y[:, None] - points().view(-1, 2).double() / 255).abs() <= h / 2).all(2).double().mean(1)
    assert torch.allclose(model.log_prob(as_image(y)).exp(), inside / h**2)
    assert (inside == 0).any() and (inside > 0).any()


def test_the_probability_of_all_binary_images_sums_to_one():
    spec = ImageSpec(1, 3, 3, levels=2)
    pixels = torch.randint(0, 2, (5, 1, 3, 3), dtype=torch.uint8) * 255
    model = fitted(spec, pixels, kernel="aitchison_aitken", bandwidth=0.1)
    images = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=9))).view(-1, 1, 3, 3)
    log_p = model.log_prob(images)
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12) and not model.density
    flips = ((images > 0)[:, None] != (pixels > 0)).flatten(2).sum(2)
    assert torch.allclose(log_p.exp(), (0.1 ** flips.double() * 0.9 ** (9 - flips.double())).mean(1))


@pytest.mark.parametrize("kernel", ["gaussian", "box"])
def test_chunks_change_nothing(kernel):
    y = as_image(torch.rand(20, 2, dtype=torch.float64))
    whole, parts = (fitted(kernel=kernel, bandwidth=0.3, chunk=c).log_prob(y) for c in (1000, 7))
    assert torch.allclose(whole, parts)


def test_far_away_nothing_underflows():
    far = torch.full((1, 1, 1, 2), 400.0)
    assert fitted(bandwidth=0.01).log_prob(far).isfinite().all()
    assert fitted(bandwidth=0.01, kernel="box").log_prob(far).item() == -math.inf


@pytest.mark.parametrize("chunk", [1000, 7])
def test_leave_one_out_by_leaving_one_out(chunk):
    """The grid's bandwidth of the largest likelihood, by 60 estimates of 59 points each; neither end of the grid."""
    rows = points().view(-1, 2).numpy() / 255
    grid = KDE(PLANE).kernel.grid

    def left_out(h):
        others = [KernelDensity(bandwidth=h).fit(rows[[j for j in range(60) if j != i]]) for i in range(60)]
        return sum(kde.score_samples(rows[i : i + 1])[0] for i, kde in enumerate(others))

    best = max(grid.tolist(), key=left_out)
    assert fitted(chunk=chunk).bandwidth.item() == best and grid[0] < best < grid[-1]


def test_leave_one_out_gives_the_box_a_bandwidth_of_finite_likelihood():
    model = fitted(kernel="box")
    rows = points().view(-1, 2).double() / 255
    distance = (rows[:, None] - rows).abs().amax(2) + 9 * torch.eye(60)
    assert model.bandwidth / 2 >= distance.amin(1).max()


def test_reference_rules():
    rows = points().view(-1, 2).double() / 255
    sigma = rows.var(0).mean().sqrt().item()
    assert fitted(bandwidth="scott").bandwidth.item() == pytest.approx(sigma * 60 ** (-1 / 6))
    assert fitted(bandwidth="silverman").bandwidth.item() == pytest.approx(sigma * (60 * 4 / 4) ** (-1 / 6))


@pytest.mark.parametrize("kernel,variance", [("gaussian", 0.05**2), ("box", 0.05**2 / 12)])
def test_samples_have_the_data_s_mean_and_the_kernel_s_spread(kernel, variance):
    model, rows = fitted(kernel=kernel, bandwidth=0.05), points().view(-1, 2).double() / 255
    drawn = (model.sample(100_000, generator=torch.Generator().manual_seed(0)).view(-1, 2).double() + 1) / 2
    wanted = rows.T.cov(correction=0) + variance * torch.eye(2)
    assert torch.allclose(drawn.mean(0), rows.mean(0), atol=3e-3)
    assert torch.allclose(drawn.T.cov(), wanted, atol=7e-4 if kernel == "gaussian" else 2e-4 + 3e-4)


def test_binary_samples_flip_with_the_bandwidth():
    spec = ImageSpec(1, 4, 4, levels=2)
    model = fitted(spec, torch.full((1, 1, 4, 4), 255, dtype=torch.uint8), kernel="aitchison_aitken", bandwidth=0.2)
    drawn = model.sample(5000, generator=torch.Generator().manual_seed(0))
    assert set(drawn.unique().tolist()) == {-1.0, 1.0}
    assert (drawn < 0).double().mean().item() == pytest.approx(0.2, abs=4 * 0.4 / math.sqrt(80_000))


def test_a_run_fits_once_and_its_checkpoint_holds_the_images(tmp_path):
    run(tmp_path, model="kde")
    saved = checkpoint.load(tmp_path)
    model = checkpoint.rebuild(saved)
    assert saved.images == len(model.pixels) == 57 and saved.state["optimizers"] == {}
    assert torch.equal(model.pixels, saved.state["model"]["pixels"]) and model.bandwidth > 0
    assert model.log_prob(model.sample(3)).isfinite().all()


@pytest.mark.parametrize(
    "kwargs,text",
    [
        ({"kernel": "gausian"}, "did you mean 'gaussian'"),
        ({"kernel": "aitchison_aitken"}, "add data.binarise=fixed_seed"),
        ({"bandwidth": -1.0}, "model.bandwidth=-1.0: must be above 0"),
        ({"bandwidth": "scot"}, "a number or loo, scott, silverman"),
        ({"bandwidth": "scott", "kernel": "box"}, "a number or loo$"),
        ({"chunk": 0}, "model.chunk=0"),
    ],
)
def test_wrong_settings_are_refused(kwargs, text):
    with pytest.raises(UsageError, match=text):
        KDE(PLANE, **kwargs)


def test_one_image_needs_a_number():
    with pytest.raises(UsageError, match="needs 2 images"):
        fitted(pixels=points(1))
    assert fitted(pixels=points(1), bandwidth=0.1).log_prob(as_image(torch.rand(1, 2))).isfinite()


def test_the_grid_is_there_also_if_its_file_is_imported_where_nothing_is_allocated():
    """As by a checkpoint of the model, whose size is found out on the device meta."""
    with torch.device("meta"):
        found = runpy.run_path(kernels.__file__)
    for name in ("Gaussian", "Box", "AitchisonAitken"):
        assert torch.equal(found[name].grid, getattr(kernels, name).grid)
