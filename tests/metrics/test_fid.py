"""Moments and the Frechet distance against closed forms, a slow twin and other ways to compute them."""

import numpy as np
import pytest
import torch

from gancli.errors import UsageError
from gancli.metrics import moments
from gancli.metrics.fid import fid, frechet_distance
from gancli.metrics.moments import Gaussian, Moments


def features(n: int, dim: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    """Non-negative, correlated, with a decaying spectrum and a mean, as those of a network are: (n, dim) float32."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=torch.Generator().manual_seed(99)) * torch.logspace(0, -2, dim)[:, None]
    return (torch.randn(n, dim, generator=generator) @ mixing / 8 + 0.3 + shift).relu()


def gaussian(x: torch.Tensor) -> Gaussian:
    """The two-pass twin of Moments."""
    array = x.double().numpy()
    return Gaussian(len(array), array.mean(0), np.cov(array, rowvar=False))


def nuclear(x: torch.Tensor, y: torch.Tensor) -> float:
    """The distance from centred features, without any covariance: exact to rounding for any n."""
    a, b = x.double() - x.double().mean(0), y.double() - y.double().mean(0)
    a, b = a / (len(a) - 1) ** 0.5, b / (len(b) - 1) ** 0.5
    gap = (x.double().mean(0) - y.double().mean(0)).square().sum()
    return (gap + a.square().sum() + b.square().sum() - 2 * torch.linalg.svdvals(a @ b.T).sum()).item()


@pytest.mark.parametrize("dim", [512, 2048])
def test_closed_forms(dim) -> None:
    zero, one, eye, rank_1 = np.zeros(dim), np.ones(dim), np.eye(dim), np.zeros((dim, dim))
    rank_1[0, 0] = 1.0
    cases = [
        (zero, eye, one, eye, dim),  # equal covariances: the squared distance of the means
        (zero, eye, zero, 4 * eye, dim),  # D (2 - 1)^2
        (zero, 0 * eye, one, eye, 2 * dim),
        (zero, rank_1, zero, eye, dim - 1),
    ]
    for mu1, sigma1, mu2, sigma2, expected in cases[: 1 if dim == 2048 else 4]:  # 2048: once, it takes seconds
        assert frechet_distance(mu1, sigma1, mu2, sigma2) == pytest.approx(expected, rel=1e-9)
        assert dim == 2048 or frechet_distance(mu2, sigma2, mu1, sigma1) == pytest.approx(expected, rel=1e-9)


def test_commuting_covariances() -> None:
    random = np.random.RandomState(0)
    q, _ = np.linalg.qr(random.randn(100, 100))
    a, b = random.uniform(0, 3, 100), random.uniform(0, 3, 100)
    value = frechet_distance(np.zeros(100), q * a @ q.T, np.zeros(100), q * b @ q.T)
    assert value == pytest.approx(((np.sqrt(a) - np.sqrt(b)) ** 2).sum(), rel=1e-12)


def test_full_rank_equals_the_matrix_square_root() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    a, b = gaussian(features(2000, 256, 1)), gaussian(features(3000, 256, 2, shift=0.05))
    root = linalg.sqrtm(a.cov @ b.cov)
    expected = ((a.mean - b.mean) ** 2).sum() + np.trace(a.cov + b.cov - 2 * root.real)
    assert expected > 0.1
    assert fid(a, b) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 90), (90, 40), (40, 2000), (2, 50)])
def test_fewer_images_than_features_equals_the_nuclear_norm(n, m) -> None:
    x, y = features(n, 256, 1), features(m, 256, 2, shift=0.05)
    assert fid(gaussian(x), gaussian(y)) == pytest.approx(nuclear(x, y), rel=1e-10)


def test_distance_to_itself_is_zero_and_both_orders_agree() -> None:
    a, b = gaussian(features(100, 256, 1)), gaussian(features(200, 256, 2))
    assert 0 <= fid(a, a) < 1e-9
    assert fid(a, b) == pytest.approx(fid(b, a), rel=1e-6) and fid(a, b) > 0


def test_bias_falls_as_one_over_n() -> None:
    values = []
    for n in (5000, 10_000, 20_000):
        x, y = (torch.randn(n, 512, dtype=torch.float64, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
        values.append(n * fid(gaussian(x), gaussian(y)))
    assert max(values) / min(values) < 1.01


def test_features_that_are_not_finite_are_refused() -> None:
    broken = gaussian(features(20, 8, 1))
    broken.cov[3, 3] = np.nan
    with pytest.raises(UsageError, match="not finite"):
        fid(broken, gaussian(features(20, 8, 2)))


@pytest.mark.parametrize("batch", [1, 64, 500, 1999, 3000])
def test_streamed_moments_equal_two_passes(batch) -> None:
    x = features(1999, 128, 3)
    sums = Moments(128)
    for part in x.split(batch):
        sums.update(part)
    found, expected = sums.gaussian(), gaussian(x)
    assert found.n == 1999
    assert np.abs(found.mean - expected.mean).max() < 1e-12
    assert np.abs(found.cov - expected.cov).max() < 1e-12
    other = gaussian(features(1500, 128, 4, shift=0.1))
    assert fid(found, other) == pytest.approx(fid(expected, other), abs=1e-9)


def test_merged_shards_equal_one_stream() -> None:
    x = features(1500, 64, 3)
    whole = Moments(64)
    whole.update(x)
    merged = Moments(64)
    for part in x.split([10, 700, 790]):
        shard = Moments(64)
        shard.update(part)
        merged.merge(shard)
    assert merged.n == 1500
    assert np.abs(merged.gaussian().mean - whole.gaussian().mean).max() < 1e-10
    assert np.abs(merged.gaussian().cov - whole.gaussian().cov).max() < 1e-10


def test_memory_does_not_grow() -> None:
    sums = Moments(4)
    for _ in range(100):
        sums.update(torch.rand(64, 4))
        assert sum(map(len, sums._waiting)) < moments.ROWS
    assert sums.gaussian().n == 6400


def test_one_image_has_no_covariance() -> None:
    sums = Moments(4)
    sums.update(torch.rand(1, 4))
    with pytest.raises(ValueError, match="2 images or more"):
        sums.gaussian()


def test_saved_statistics_are_read_back_bit_for_bit_and_by_pytorch_fid(tmp_path) -> None:
    fid_score = pytest.importorskip("pytorch_fid.fid_score")
    saved = gaussian(features(50, 16, 1))
    moments.save(tmp_path / "new" / "a.npz", saved)
    loaded = moments.load(tmp_path / "new" / "a.npz")
    assert loaded.n == 50 and (loaded.mean == saved.mean).all() and (loaded.cov == saved.cov).all()
    mu, sigma = fid_score.compute_statistics_of_path(str(tmp_path / "new" / "a.npz"), None, 1, 16, "cpu")
    assert (mu == saved.mean).all() and (sigma == saved.cov).all()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.npz"]
