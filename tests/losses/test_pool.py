"""The pool of earlier images: what it keeps, what it returns, and that a resumed run goes on with it."""

import pytest
import torch
from helpers import NoHostSync

from gancli.losses.pool import Pool


def numbered(start: int, n: int) -> torch.Tensor:
    """Images that show their own number."""
    return torch.arange(start, start + n, dtype=torch.float32).view(-1, 1, 1, 1)


def shown(images: torch.Tensor) -> list[int]:
    return images.flatten().int().tolist()


def stored(pool: Pool) -> set[int]:
    return set(shown(pool.images[: pool.capacity]))


@pytest.mark.parametrize("batch", [1, 3, 10])
def test_the_first_images_fill_the_pool_and_are_returned_themselves(batch):
    pool = Pool(10, (1, 1, 1))
    for start in range(0, 9, batch):
        n = min(batch, 10 - start)
        assert shown(pool(numbered(start, n))) == list(range(start, start + n))
    assert stored(pool) >= set(range(9))


def test_then_half_are_new_and_half_are_old_and_none_is_seen_that_is_not_stored():
    torch.manual_seed(0)
    pool, fresh, ages = Pool(50, (1, 1, 1)), 0, []
    pool(numbered(0, 50))
    for start in range(50, 20_050, 5):
        before = stored(pool)
        returned = shown(pool(numbered(start, 5)))
        new = [i for i in returned if i >= start]
        old = [i for i in returned if i < start]
        assert set(old) <= before and len(set(returned)) == 5
        assert stored(pool) == (before - set(old)) | (set(range(start, start + 5)) - set(new))
        fresh += len(new)
        ages += [(start - i) for i in old]
    assert fresh / 20_000 == pytest.approx(0.5, abs=0.015)  # 4 standard deviations
    # An image is replaced with probability 1/100 per image: 100 images is the mean age in a pool of 50.
    assert sum(ages) / len(ages) == pytest.approx(100, rel=0.1)


def test_a_batch_that_goes_over_the_rim_stores_each_image_once_at_most():
    swapped = 0
    for seed in range(20):
        torch.manual_seed(seed)
        pool = Pool(7, (1, 1, 1))
        pool(numbered(1, 5))
        returned = shown(pool(numbered(6, 6)))  # two places are free
        assert returned[:2] == [6, 7]
        assert all(each in (8 + i, *range(1, 6)) for i, each in enumerate(returned[2:]))  # no place yet to be filled
        assert len(stored(pool)) == 7 and set(returned) | stored(pool) == set(range(1, 12))
        assert pool.filled == 7
        swapped += shown(pool(numbered(12, 1))) != [12]
    assert 3 < swapped < 17  # the first image after that, too, with probability 1/2


def test_batches_larger_than_the_pool_and_no_pool():
    torch.manual_seed(2)
    pool = Pool(4, (1, 1, 1))
    seen = set(shown(pool(numbered(0, 30))))
    assert seen | stored(pool) == set(range(30))  # nothing is lost, nothing is made up
    images = numbered(0, 3).requires_grad_()
    assert shown(Pool(0, (1, 1, 1))(images)) == [0, 1, 2] and not Pool(0, (1, 1, 1))(images).requires_grad
    with pytest.raises(ValueError, match="pool=-1"):
        Pool(-1, (1, 1, 1))


def test_it_is_restored_with_what_it_holds_and_draws_on_bit_for_bit():
    torch.manual_seed(3)
    pool, other = Pool(6, (1, 2, 2)), Pool(6, (1, 2, 2))
    pool(torch.randn(9, 1, 2, 2))
    other.load_state_dict(pool.state_dict())
    images, state = torch.randn(5, 1, 2, 2), torch.get_rng_state()
    one = pool(images)
    torch.set_rng_state(state)
    assert torch.equal(one, other(images)) and torch.equal(pool.images, other.images)


def test_it_never_waits_for_the_device():
    pool = Pool(3, (1, 1, 1))
    with NoHostSync():
        for start in range(4):
            returned = pool(numbered(start, 2))
    assert returned.shape == (2, 1, 1, 1)  # under a guard that raises
