"""The Inception Score against closed forms and torch-fidelity."""

import pytest
import torch
from torch import Tensor

from gancli.errors import UsageError
from gancli.metrics.inception_score import InceptionScore


def score(logits: Tensor, batch: int = 64, splits: int = 10) -> tuple[float, float]:
    streamed = InceptionScore(len(logits), logits.shape[1], splits=splits)
    for part in logits.split(batch):
        streamed.update(part)
    return streamed.result()


def test_balanced_certain_predictions_reach_the_number_of_classes() -> None:
    mean, std = score(1000 * torch.eye(1008).repeat(10, 1))
    assert mean == pytest.approx(1008, abs=1e-6) and std < 1e-6


def test_uniform_predictions_score_one() -> None:
    mean, std = score(torch.full((100, 1008), 3.0))
    assert mean == pytest.approx(1, abs=1e-12) and std < 1e-12


def test_the_order_counts_for_nothing_is_shuffled() -> None:
    sorted_by_class = 1000 * torch.eye(1008).repeat_interleave(10, 0)
    assert score(sorted_by_class)[0] == pytest.approx(101.27, abs=0.005)  # each split sees a tenth of the classes


def test_underflowing_probabilities_do_no_harm() -> None:
    logits = torch.tensor([[0.0, -400.0], [-400.0, 0.0]]).repeat(10, 1)
    assert score(logits)[0] == pytest.approx(2, rel=1e-12)


@pytest.mark.parametrize(("n", "batch"), [(10, 3), (55, 64), (64, 64), (999, 10), (999, 999)])
def test_equals_torch_fidelity(n, batch) -> None:
    metric_isc = pytest.importorskip("torch_fidelity.metric_isc")
    logits = 4 * torch.randn(n, 100, generator=torch.Generator().manual_seed(n))
    expected = metric_isc.isc_features_to_metric(logits, splits=10, shuffle=False)
    mean, std = score(logits, batch)
    assert mean == pytest.approx(expected["inception_score_mean"], abs=1e-10)
    assert std == pytest.approx(expected["inception_score_std"], abs=1e-10)


def test_too_few_images_are_refused_and_a_wrong_count_is_noticed() -> None:
    with pytest.raises(UsageError, match="n >= 10 images") as refused:
        InceptionScore(9, 10)
    assert "\n" not in str(refused.value)
    streamed = InceptionScore(20, 10)
    streamed.update(torch.zeros(15, 10))
    with pytest.raises(ValueError, match="15 of 20"):
        streamed.result()
    with pytest.raises(ValueError, match="20 announced"):
        streamed.update(torch.zeros(6, 10))
