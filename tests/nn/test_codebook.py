"""The codebook of a VQ-VAE: where each term's gradient goes, its averages against a twin, the rotation trick."""

import numpy as np
import pytest
import torch

from gancli.nn.codebook import SMOOTHING, VQ, rotated
from gancli.nn.quantisers import Quantised, straight_through


def test_each_of_the_three_terms_has_its_own_gradient():
    """Eq. 3: the reconstruction for the encoder as if there were no codebook, then the codebook's term, then beta's."""
    torch.manual_seed(0)
    quantiser = VQ(5, 3, beta=0.25, learning="gradient").double()
    z = torch.randn(4, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    found = quantiser(z)
    code, weight = quantiser.lookup(found.number).detach(), torch.randn(4, 3, 2, 2, dtype=torch.float64)
    slopes = torch.autograd.grad((found.value * weight).sum(), [z, quantiser.codebook], allow_unused=True)
    assert torch.equal(slopes[0], weight) and slopes[1] is None
    terms = quantiser.penalties(z, found)
    distance = (z - code).square().sum((1, 2, 3)).mean().item()  # sums over dimensions and positions, means over images
    assert terms["codebook"].item() == pytest.approx(distance) == terms["commitment"].item() / 0.25
    slopes = torch.autograd.grad(terms["commitment"], [z, quantiser.codebook], allow_unused=True, retain_graph=True)
    assert torch.allclose(slopes[0], 0.25 * 2 * (z - code) / 4) and slopes[1] is None
    slopes = torch.autograd.grad(terms["codebook"], [z, quantiser.codebook], allow_unused=True)
    assert slopes[0] is None
    rows, number = z.detach().movedim(1, 3).flatten(0, 2), found.number.flatten()
    expected = torch.zeros(5, 3, dtype=torch.float64).index_add_(
        0, number, -2 * (rows - quantiser.codebook[number]) / 4
    )
    assert torch.allclose(slopes[1], expected)
    assert set(VQ(5, 3).penalties(z, VQ(5, 3)(z))) == {"commitment"}  # averages in place of the second term


def nearest(rows: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    return ((rows[:, None] - codebook) ** 2).sum(2).argmin(1)


@pytest.mark.parametrize("parts", [1, 2])
def test_the_codebook_follows_its_vectors_as_a_twin_does(parts):
    """Twenty updates in float64, with smoothing and restarts; micro-batches make no difference."""
    k, d, decay, restart = 6, 2, 0.7, 0.3
    torch.manual_seed(1)
    quantiser = VQ(k, d, decay=decay, restart=restart).double()
    codebook = quantiser.codebook.numpy().copy()
    count, total, restarts = np.full(k, 2 * restart), 2 * restart * codebook, 0
    for step in range(20):
        z = torch.randn(8, d, 2, 2, dtype=torch.float64) + (0, 4)[step > 9]  # the vectors move away half-way
        rows = z.movedim(1, 3).flatten(0, 2).numpy()
        number = nearest(rows, codebook)
        for part in z.chunk(parts):
            quantiser.observe(part, quantiser(part))
        candidates = quantiser.candidates.numpy().copy()
        assert all((rows == each).all(1).any() for each in candidates)
        quantiser.update()
        uses = np.bincount(number, minlength=k)
        sums = np.stack([rows[number == i].sum(0) for i in range(k)])
        count = decay * count + (1 - decay) * uses * k / len(rows)
        total = decay * total + (1 - decay) * sums * k / len(rows)
        dead = count < restart
        restarts += dead.sum()
        count[dead], total[dead] = 2 * restart, 2 * restart * candidates[dead]
        codebook = total / ((count + SMOOTHING) / (count.sum() + k * SMOOTHING) * count.sum())[:, None]
        assert np.allclose(quantiser.codebook.numpy(), codebook, atol=1e-12)
    assert restarts > 3


def test_a_code_without_vectors_stays_where_it_is_unless_it_restarts():
    codebook = torch.tensor([[0.0, 0.0], [100.0, 100.0]])
    for restart in (0.0, 0.2):
        quantiser = VQ(2, 2, decay=0.9, restart=restart)
        quantiser.fit(codebook.T[None, :, :, None])
        far = int(quantiser.codebook[:, 0].argmax())
        for _ in range(30):
            z = torch.randn(4, 2, 3, 3)
            quantiser.observe(z, quantiser(z)), quantiser.update()
        assert (quantiser.codebook[far].norm() > 90) == (restart == 0)


def test_a_codebook_starts_at_vectors_of_the_encoder():
    z = torch.randn(3, 4, 2, 2)
    rows = z.movedim(1, 3).flatten(0, 2)
    few, many = VQ(5, 4), VQ(30, 4)
    few.fit(z), many.fit(z)
    assert all((rows == each).all(1).any() for each in few.codebook) and len(few.codebook.unique(dim=0)) == 5
    assert torch.allclose(few.total / few.count[:, None], few.codebook)
    assert torch.cdist(many.codebook, rows).amin(1).max() < 0.2 and len(many.codebook.unique(dim=0)) == 30


def test_the_rotation_is_the_code_and_its_gradient_turns_and_scales_that_of_the_vector():
    torch.manual_seed(2)
    z, code = torch.randn(6, 5, 1, 1, dtype=torch.float64, requires_grad=True), torch.randn(6, 5, 1, 1).double()
    out, weight = rotated(code, z), torch.randn(6, 5, 1, 1, dtype=torch.float64)
    assert torch.equal(out, code)
    (slope,) = torch.autograd.grad((out * weight).sum(), z)
    for i in range(6):
        a, b = z[i].flatten().detach(), code[i].flatten()
        u, q = a / a.norm(), b / b.norm()
        w = (u + q) / (u + q).norm()
        turn = torch.eye(5).double() - 2 * torch.outer(w, w) + 2 * torch.outer(q, u)
        assert torch.allclose(turn.T @ turn, torch.eye(5).double(), atol=1e-12) and torch.linalg.det(turn) > 0
        assert torch.allclose(b.norm() / a.norm() * turn @ a, b, atol=1e-12)
        assert torch.allclose(slope[i].flatten(), b.norm() / a.norm() * turn.T @ weight[i].flatten(), atol=1e-10)
    assert torch.equal(straight_through(code, z), code)


def test_several_processes_see_the_mean_of_their_statistics():
    quantiser = VQ(3, 2)
    z = torch.randn(4, 2, 2, 2)
    quantiser.observe(z, Quantised(z, torch.zeros(4, 2, 2, dtype=torch.int64)))
    assert [each.data_ptr() for each in quantiser.statistics()] == [
        each.data_ptr() for each in (quantiser.batch_count, quantiser.batch_total, quantiser.candidates)
    ]
    assert VQ(3, 2, learning="gradient").statistics() == []
