"""Evaluations of different protocols: what is refused, what is only told, and what stands side by side when asked."""

import re

import pytest
from written_runs import MODELS, read, reported, score

from gancli.errors import UsageError
from gancli.metrics.registry import METRICS
from gancli.verbs.report import sheet

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"images_generated": 500}, "images_generated: 1000 | 500"),
        ({"features": {"name": "inception"}}, "features.name: classifier | inception"),
        ({"seed": 1}, "seed: 0 | 1"),
        ({"ema": False}, "ema: true | false"),
        ({"is_splits": 5}, "is_splits: 10 | 5"),
        ({"reference_statistics": "abc"}, "reference_statistics: null | abc"),
    ],
)
def test_rows_of_different_protocols_are_refused_and_the_key_is_named(sweep, change, key) -> None:
    score(sweep / "07", 3000, 1.0, **change)
    with pytest.raises(UsageError, match=re.escape(key)) as error:
        reported(runs=sweep)
    assert "protocols=mixed" in str(error.value) and "only." in str(error.value) and "\n" not in str(error.value)


def test_what_changes_no_printed_digit_is_only_told(sweep, capsys) -> None:
    score(sweep / "07", 3000, 1.0, device="NVIDIA H200", versions={"torch": "2.16"})
    score(sweep / "08", 3000, 1.0, metrics=["kid", "fid", "is"], kid_subsets=100)  # another metric's setting
    reported(runs=sweep)
    printed = capsys.readouterr().out
    assert "device differs between evaluations: cpu | NVIDIA H200" in printed and "versions.torch differs" in printed


@pytest.mark.parametrize("others", [{}, {"labels": None}])
def test_conditional_models_are_compared_with_others_and_it_is_said(sweep, capsys, others) -> None:
    score(sweep / "03", 3000, 1.0, labels="as frequent as in the split", **{})
    score(sweep / "04", 3000, 2.0, **others)
    reported(runs=sweep)
    printed = capsys.readouterr().out
    assert "both are scored as sets of images" in printed and "do not compare" not in printed
    reported("only.labels='as frequent as in the split'", runs=sweep)
    assert "scored as sets" not in capsys.readouterr().out


def test_means_of_pixels_are_compared_with_draws_and_it_is_said(sweep, capsys) -> None:
    score(sweep / "03", 3000, 1.0, pixels="means")
    reported(runs=sweep)
    printed = capsys.readouterr().out
    assert "Images of latent-variable models are means of their pixels" in printed and "do not compare" not in printed
    reported("only.pixels=means", runs=sweep)
    assert "means of their pixels" not in capsys.readouterr().out


def test_mixed_protocols_get_columns_and_no_winner(sweep) -> None:
    for i in range(12):
        score(sweep / f"{i:02d}", 3000, 90 + i, name="-b", images_generated=50)
    reported("protocols=mixed", runs=sweep)
    table = read(sweep)
    assert len(table) == 8 and [row["images_generated"] for row in table] == ["1000", "50"] * 4
    assert float(table[1]["fid_last_mean"]) == 91 and table[1]["fid_best_mean"] == ""
    assert "**" not in (sweep / "report" / "table.md").read_text()
    reported("only.images_generated=50", runs=sweep)
    assert [float(row["fid_last_mean"]) for row in read(sweep)] == [91, 94, 97, 100]
    with pytest.raises(UsageError, match=r"only.n: no evaluation has this key.*images_generated"):
        reported("only.n=50", runs=sweep)


def test_settings_of_a_metric_are_named_after_it() -> None:
    """What a protocol may leave out where the metric was not asked for is told by its name."""
    for metric in METRICS.values():
        assert all(key.startswith(f"{metric.name}_") for key in metric.constants)


def test_models_that_draw_in_different_precisions_are_compared(sweep, capsys) -> None:
    """`runtime.precision=auto` is bf16 for some models of a sweep and fp32 for others."""
    for i in range(12):
        score(sweep / f"{i:02d}", 3000, 90 + i, precision="bfloat16" if i < 6 else "float32")
    reported(runs=sweep)
    assert "precision differs between evaluations: bfloat16 | float32" in capsys.readouterr().out
    for i in range(12):  # a setting of the metric that is called alike still tells evaluations apart
        score(sweep / f"{i:02d}", 3000, 90 + i, metrics=["precision_recall"], precision_recall_k=3 + (i < 6))
    with pytest.raises(UsageError, match="precision_recall_k: 4 | 3"):
        reported(runs=sweep)


def test_a_refusal_names_few_of_the_keys_that_differ(sweep) -> None:
    """What follows from another extractor is not worth a word each."""
    facts = {"name": "pixels"} | {f"fact_{i}": i for i in range(9)}
    score(sweep / "07", 3000, 1.0, features=facts, seed=1, ema=False, images_generated=5, batch_size=3)
    with pytest.raises(UsageError, match=re.escape("features.name: classifier | pixels; ")) as error:
        reported(runs=sweep)
    assert "fact_" not in str(error.value) and re.search(r"; and \d+ more\)", str(error.value))


def test_a_run_with_several_evaluations_has_one_grid_of_samples_without_their_options(sweep, monkeypatch) -> None:
    """The grid of training was shown beside each truncation as if it had been drawn with it."""
    tables = []
    monkeypatch.setattr(sheet, "samples", tables.append)
    for i in range(12):
        score(sweep / f"{i:02d}", 3000, 90 + i, name="-b", sampling={"truncation": 0.5})
    reported("protocols=mixed", runs=sweep)
    grids = tables[0].grids()
    assert len(grids) == 12 and {each.score for each in grids} == {None}
    assert {each.labels for each in grids} == {(m, n) for m in MODELS for n in ("hinge", "lsgan")}
