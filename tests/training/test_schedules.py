"""Schedules at the images where their formula is plain."""

import pytest

from gancli.training.schedules import Constant, Exponential, Goodfellow2014, Linear, Rates


@pytest.mark.parametrize("images, lr", [(0, 1), (500, 1), (600, 0.8), (750, 0.5), (1000, 0), (1200, 0)])
def test_linear(images, lr):
    assert Linear(start=0.5)(images, 1000).lr == pytest.approx(lr)


def test_linear_from_the_start_to_a_tenth():
    assert [Linear(start=0, end=0.1)(n, 100).lr for n in (0, 50, 100)] == pytest.approx([1, 0.55, 0.1])


@pytest.mark.parametrize("images, lr", [(0, 0), (25, 0.25), (100, 1), (101, 1)])
def test_warmup(images, lr):
    assert Constant(warmup=100)(images, 1000) == Rates(pytest.approx(lr))


def test_warmup_multiplies_the_decay():
    assert Linear(start=0, warmup=100)(50, 1000).lr == pytest.approx(0.95 * 0.5)


def test_exponential():
    assert [Exponential(half_life=100)(n, 1).lr for n in (0, 50, 100, 300)] == pytest.approx([1, 0.5**0.5, 0.5, 0.125])


def test_goodfellow_2014():
    """Momentum .5 -> .7 over 250 epochs of 50,000; lr / 1.000004 per update of 100 images; floor 1e-6 / .1."""
    schedule = Goodfellow2014()
    assert schedule(0, 1) == Rates(1.0, 0.5)
    assert schedule(6_250_000, 1).momentum == pytest.approx(0.6)
    assert schedule(25_000_000, 1).momentum == pytest.approx(0.7)
    assert schedule(100, 1).lr == pytest.approx(1 / 1.000004, rel=1e-12)
    assert schedule(10**9, 1).lr == pytest.approx(1e-5)
