"""Precision, recall, density, coverage and AuthPct against prdc, torch-fidelity and differences taken one by one."""

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from torch import Tensor
from torch_fidelity.metric_prc import prc_features_to_metric

from gancli.metrics import neighbours
from gancli.metrics.density_coverage import density_coverage
from gancli.metrics.memorisation import auth_pct
from gancli.metrics.neighbours import BLOCK, radii, squared, within
from gancli.metrics.precision_recall import precision_recall


def normal(n: int, dim: int, seed: int, scale: float = 1) -> Tensor:
    return scale * torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("n", [256, 2 * BLOCK + 300])
@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("cells", [neighbours.CELLS, 10_000])
def test_equal_counts_to_prdc(n, k, cells, monkeypatch) -> None:
    monkeypatch.setattr(neighbours, "CELLS", cells)
    real, fake = normal(n, 32, 0), normal(n, 32, 1, 0.8)
    theirs = compute_prdc(real.double().numpy(), fake.double().numpy(), k)
    density, coverage = density_coverage(fake, real, k)
    ours = dict(zip(("precision", "recall"), precision_recall(fake, real, k)))
    ours |= {"density": density * k, "coverage": coverage}
    theirs["density"] *= k
    assert {key: round(value * n) for key, value in ours.items()} == {k_: round(v * n) for k_, v in theirs.items()}
    assert 0 < ours["recall"] < ours["precision"] < 1


def test_equal_counts_to_torch_fidelity_which_closes_the_balls_as_the_paper_does() -> None:
    real, fake = normal(300, 16, 0), normal(200, 16, 1, 0.9)
    theirs = prc_features_to_metric(
        fake.double(), real.double(), prc_neighborhood=3, prc_batch_size=64, save_cpu_ram=True, verbose=False
    )
    assert precision_recall(fake, real) == pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-6)


def test_open_and_closed_balls_differ_on_the_very_same_images() -> None:
    x = normal(200, 8, 0)
    assert density_coverage(x, x) == (1.0, 1.0)  # closed balls would give 1.2
    collapsed = x[:1].repeat(50, 1)
    assert precision_recall(collapsed, collapsed) == (1.0, 1.0) and radii(collapsed, 3).eq(0).all()
    assert density_coverage(collapsed, collapsed) == (0.0, 0.0)


def test_what_lies_on_a_ball_but_for_rounding_lies_on_it() -> None:
    near, ball = 1 + torch.tensor([[-1e-9, -1e-12, 1e-12, 1e-9]]).double(), torch.ones(4).double()
    assert within(near, ball, closed=True).tolist() == [[True, True, True, False]]
    assert within(near, ball, closed=False).tolist() == [[True, False, False, False]]


@pytest.mark.parametrize("offset", [0, 1e4])
def test_distances_are_right_in_blocks_and_far_from_the_origin(offset) -> None:
    y = normal(50, 16, 0).double() + offset
    x = normal(BLOCK + 10, 16, 1).double() + offset
    x[BLOCK] = y[3]
    found = torch.cat([block for _, block in squared(x, y)])
    exact = (x[:, None] - y[None]).square().sum(2)
    assert torch.allclose(found, exact, rtol=1e-9, atol=1e-9) and found[BLOCK, 3] == 0
    assert [start for start, _ in squared(x, y)] == [0, BLOCK]


def test_radii_leave_the_vector_itself_out_but_not_its_twins() -> None:
    x = torch.tensor([[0.0], [1.0], [3.0], [3.0]])
    assert radii(x, 1).tolist() == [1, 1, 0, 0]
    assert radii(x, 2).tolist() == [9, 4, 4, 4]


def test_auth_pct_of_copies_strangers_and_a_case_by_hand() -> None:
    train = normal(300, 16, 0)
    assert auth_pct(train[:100], train) == 0 and auth_pct(train[:100] + 0.001, train) == 0
    assert auth_pct(normal(100, 16, 1) + 100, train) == 100
    # Nearest of 0.4 is 0, whose own neighbour is 1 away; nearest of 9 is 5, whose own neighbour, 1, is 4 away.
    assert auth_pct(torch.tensor([[0.4], [9.5], [8.5]]), torch.tensor([[0.0], [1.0], [5.0]])) == pytest.approx(100 / 3)


@pytest.mark.parametrize("block", [BLOCK, 7])
def test_auth_pct_against_enumeration(block, monkeypatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", block)
    train, fake = normal(80, 5, 0).double().numpy(), normal(60, 5, 1).double().numpy()
    authentic = 0
    for x in fake:
        distances = ((train - x) ** 2).sum(1)
        nearest = distances.argmin()
        own = np.delete(((train - train[nearest]) ** 2).sum(1), nearest).min()
        authentic += distances[nearest] > own
    assert 0 < authentic < 60
    assert auth_pct(torch.from_numpy(fake), torch.from_numpy(train)) == pytest.approx(100 * authentic / 60)
