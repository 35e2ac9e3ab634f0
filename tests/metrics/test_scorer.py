"""All metrics together: one pass, nothing depends on batches or order, and each moves the way it should."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from noise import DRAWN, OTHERS, REAL, SIZE, Looking, drawn, scorer, stream

from gancli.data.source import Images
from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.metrics import moments
from gancli.metrics.regrouped import regrouped

FRESH = drawn(600, 3)  # a perfect generator


def scored(images: Images, **more) -> dict[str, float]:
    return scorer(**more).score(stream(images)).values


def rows(index: np.ndarray) -> Images:
    return replace(FRESH, pixels=FRESH.pixels[index], labels=FRESH.labels[index])


@pytest.fixture(scope="module")
def perfect() -> dict[str, float]:
    return scored(FRESH)


def test_every_metric_gives_the_values_it_names(perfect) -> None:
    assert list(perfect) == [key for metric in DRAWN.values() for key in metric.values]
    assert all(np.isfinite(value) for value in perfect.values())


N = np.arange(600)
DAMAGE = {
    "half are duplicates": rows(N % 300),
    "one image repeated": rows(N * 0),
    "a class is missing": rows(np.resize(np.flatnonzero(FRESH.labels != 2), 600)),
    "labels are shuffled": replace(FRESH, labels=np.random.RandomState(0).permutation(FRESH.labels)),
    "copies of training images": replace(
        FRESH, pixels=OTHERS["train"].pixels[:600], labels=OTHERS["train"].labels[:600]
    ),
    "noise": replace(FRESH, pixels=np.random.RandomState(9).randint(0, 256, FRESH.pixels.shape).astype(np.uint8)),
}
WORSE = [  # damage, value, which way it must move from a perfect generator's, by at least how much
    ("half are duplicates", "duplicate_rate", +1, 0.49),
    ("half are duplicates", "fid", +1, 1e-4),
    ("half are duplicates", "recall", -1, 0.05),
    ("half are duplicates", "coverage", -1, 0.05),
    ("half are duplicates", "parzen", -1, 0.05),
    ("one image repeated", "duplicate_rate", +1, 0.99),
    ("one image repeated", "fid", +1, 0.3),
    ("one image repeated", "fid_infinity", +1, 0.3),
    ("half are duplicates", "fid_per_class", +1, 1e-4),
    ("one image repeated", "fid_per_class", +1, 0.3),
    ("a class is missing", "fid_per_class", +1, 100),  # infinite
    ("labels are shuffled", "fid_per_class", +1, 0.1),
    ("one image repeated", "kid", +1, 0.05),
    ("one image repeated", "is", -1, 1),
    ("one image repeated", "recall", -1, 0.5),
    ("one image repeated", "coverage", -1, 0.5),
    ("one image repeated", "modes", -1, 4),
    ("one image repeated", "mode_jsd", +1, 0.3),
    ("one image repeated", "reverse_kl", +1, 1),
    ("a class is missing", "reverse_kl", +1, 0.1),
    ("one image repeated", "parzen", -1, 1),
    ("a class is missing", "modes", -1, 1),
    ("a class is missing", "mode_jsd", +1, 0.05),
    ("a class is missing", "is", -1, 0.3),
    ("a class is missing", "fid", +1, 0.02),
    ("a class is missing", "kid", +1, 1e-3),
    ("a class is missing", "recall", -1, 0.1),
    ("a class is missing", "coverage", -1, 0.1),
    ("labels are shuffled", "accuracy", -1, 0.6),
    ("copies of training images", "copy_rate", +1, 1),
    ("copies of training images", "auth_pct", -1, 50),
    ("noise", "precision", -1, 0.3),
    ("noise", "density", -1, 0.3),
    ("noise", "parzen", -1, 1),
]
STILL = [
    (
        "labels are shuffled",
        {key for metric in DRAWN.values() for key in metric.values} - {"accuracy", "fid_per_class"},
    ),
    ("half are duplicates", {"modes", "copy_rate"}),
    ("a class is missing", {"accuracy", "copy_rate"}),
    ("copies of training images", {"accuracy", "modes", "duplicate_rate"}),
]


@pytest.fixture(scope="module")
def damaged() -> dict[str, dict[str, float]]:
    return {name: scored(images) for name, images in DAMAGE.items()}


@pytest.mark.parametrize(("damage", "key", "sign", "least"), WORSE)
def test_each_value_moves_the_way_it_should(damage, key, sign, least, perfect, damaged) -> None:
    assert sign * (damaged[damage][key] - perfect[key]) >= least


@pytest.mark.parametrize(("damage", "keys"), STILL)
def test_what_the_damage_does_not_touch_stays(damage, keys, perfect, damaged) -> None:
    assert {key: damaged[damage][key] for key in keys} == {key: perfect[key] for key in keys}


def test_the_list_of_movements_covers_every_value() -> None:
    better = {key: way for metric in DRAWN.values() for key, way in metric.values.items() if way is not None}
    assert {key for _, key, _, _ in WORSE} == set(better)
    assert all((sign < 0) == better[key] for _, key, sign, _ in WORSE)


def test_batches_change_nothing_but_rounding(perfect) -> None:
    values = scorer(batch_size=17).score(stream(FRESH, 101)).values
    assert values == pytest.approx(perfect, rel=1e-9, abs=1e-9)


def test_the_order_of_images_changes_nothing_but_what_is_drawn_by_their_number(perfect) -> None:
    """IS cuts the images into ten parts, KID and fid_infinity draw subsets: these see the order."""
    values = scored(rows(np.random.RandomState(1).permutation(600)))
    seen = {"is", "is_std", "kid", "kid_std", "fid_infinity"}
    assert {k: v for k, v in values.items() if k not in seen} == pytest.approx(
        {k: v for k, v in perfect.items() if k not in seen}, rel=1e-9, abs=1e-9
    )


def test_any_list_is_one_pass_and_equals_each_metric_alone(perfect) -> None:
    whole = scorer(floor=True)
    assert whole.floor()[0] == 300
    assert whole.score(stream(FRESH)).values == perfect
    assert whole.features.seen == 600 + 600 + 700  # generated, real and train once each; validation needs no network
    whole.score(stream(FRESH))
    assert whole.features.seen == 1900 + 600  # the real ones are remembered
    for name, metric in DRAWN.items():
        alone = scored(FRESH, metrics=[name])
        assert alone == {key: perfect[key] for key in metric.values}


def test_images_without_labels_have_no_accuracy() -> None:
    values = scorer(["classes"]).score((pixels, None) for pixels, _ in stream(FRESH)).values
    assert values.keys() == {"modes", "mode_jsd", "reverse_kl"}


def test_the_histograms_are_told() -> None:
    details = scorer(["classes", "fid"]).score(stream(FRESH)).details
    assert details == {
        "classes": {"generated": np.bincount(FRESH.labels).tolist(), "real": np.bincount(REAL.labels).tolist()}
    }


def test_the_noise_floor_is_the_score_of_one_half_against_the_other(perfect) -> None:
    size, floor = scorer(n=500, floor=True).floor()
    order = np.random.RandomState(0).permutation(600)
    one, other = (
        replace(REAL, pixels=REAL.pixels[r], labels=REAL.labels[r], fingerprint=str(r[0]))
        for r in (np.sort(order[:300]), np.sort(order[300:]))
    )
    assert size == 300
    expected = scorer(reference=other, n=300).score(stream(one)).values
    assert floor == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert (
        scorer(n=200, floor=True).floor()[0] == 200 and scorer(n=500, floor=True).floor()[1] == floor
    )  # now from the cache
    assert floor["fid"] < 0.2 and scorer(["is", "fid"], n=500, reference=drawn(12, 4), floor=True).floor()[
        1
    ].keys() == {"fid"}


def test_known_statistics_stand_in_for_the_reference(perfect) -> None:
    known = scorer(["fid"]).real()
    other = drawn(600, 5)
    values = scorer(["fid", "is", "fid_infinity"], reference=other, known=known).score(stream(FRESH)).values
    assert values == {key: perfect[key] for key in ("fid", "is", "is_std", "fid_infinity")}
    assert scorer(["fid"], reference=other).score(stream(FRESH)).values["fid"] != perfect["fid"]
    with pytest.raises(UsageError, match="kid needs the images"):
        scorer(["kid"], known=known)
    assert known.n == 600 and isinstance(known, moments.Gaussian)


@pytest.mark.parametrize(
    ("metrics", "reference", "words"),
    [
        (["classes"], replace(REAL, labels=None, spec=ImageSpec(1, SIZE, SIZE)), "features=classifier"),
        (["precision_recall"], drawn(3, 0), "precision_recall needs 4 reference images"),
        (["fid", "density_cover"], REAL, "did you mean 'density_coverage'"),
    ],
)
def test_what_cannot_be_scored_is_refused_at_once(metrics, reference, words) -> None:
    with pytest.raises(UsageError, match=words):
        scorer(metrics, reference)


def test_batches_are_joined_until_they_are_large_enough() -> None:
    images = torch.arange(10)[:, None, None, None]
    for sizes in ((1,) * 10, (3, 3, 3, 1), (10,)):
        parts = list(regrouped(((part, part.flatten()) for part in images.split(sizes)), 4))
        assert torch.equal(torch.cat([pixels for pixels, _ in parts]), images)
        assert all(len(pixels) >= 4 for pixels, _ in parts[:-1]) and max(len(pixels) for pixels, _ in parts) <= 10
        assert all(torch.equal(labels, pixels.flatten()) for pixels, labels in parts)
    assert [labels for _, labels in regrouped([(images, None)] * 3, 11)] == [None, None]


def test_features_are_computed_at_a_batch_of_their_own(monkeypatch) -> None:
    sizes, look = [], Looking.__call__
    monkeypatch.setattr(Looking, "__call__", lambda self, images: sizes.append(len(images)) or look(self, images))
    found = scorer(["fid"], n=60, batch_size=1, features_batch=50).score(stream(drawn(60, 3), 1))
    assert sizes == [50] * 12 + [50, 10]  # of 600 real images and 60 drawn ones
    assert found.values["fid"] == pytest.approx(scored(drawn(60, 3), metrics=["fid"], n=60)["fid"])
