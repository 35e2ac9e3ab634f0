"""The table of a report: which numbers stand where, in how many digits, and what is said to be missing."""

import re
from statistics import fmean, stdev

import pytest
import yaml
from PIL import Image
from written_runs import MODELS, make_run, read, reported, score

from gancli.config import options
from gancli.errors import UsageError
from gancli.verbs.report import grouping, runs, text
from gancli.verbs.report.table import Score

LIKE = "n=1000 features=classifier 'metrics=[fid,is]'"  # written_runs.PROTOCOL, which is not that of the runs

pytestmark = pytest.mark.usefixtures("undrawn")


def test_seeds_are_folded_and_what_differs_are_columns(sweep, capsys) -> None:
    reported(runs=sweep)
    table = read(sweep)
    assert [(row["model"], row["loss"]) for row in table] == [
        (model, loss) for model in MODELS for loss in ("hinge", "lsgan")
    ]
    assert list(table[0])[:3] == ["model", "loss", "seeds"]  # optimizer and class go with the model
    for i, row in enumerate(table):
        last, best = ([base + (3 * i + s) ** 1.5 for s in range(3)] for base in (60, 40))
        assert float(row["fid_last_mean"]) == pytest.approx(fmean(last), rel=1e-12)
        assert float(row["fid_last_std"]) == pytest.approx(stdev(last), rel=1e-12)
        assert float(row["fid_best_mean"]) == pytest.approx(fmean(best), rel=1e-12)
        assert float(row["fid_best_seed"]) == best[0]  # seed 0 is best on validation
        assert float(row["is_best_seed"]) == pytest.approx(100 / best[0])
        assert (row["seeds"], row["fid_last_n"], row["fid_floor"]) == ("3", "3", "9.5")
        assert (row["images"], row["seconds"], row["device"]) == ("3000", "30.0", "CPU (test)")
    printed = capsys.readouterr().out
    assert "| mlp_gan | lsgan | 3 |" in printed and "real images (n = 180)" in printed
    assert "1,000 generated images against 360 real ones of digits test" in printed
    assert "the one of 3 checkpoints with the lowest FID on the validation split" in printed


def test_every_run_keeps_its_own_line(sweep) -> None:
    reported(runs=sweep)
    lines = read(sweep, "runs.csv")
    assert len(lines) == 12 and [line["seed"] for line in lines[:3]] == ["0", "1", "2"]
    assert lines[4]["best_images"] == "2000" and float(lines[4]["best_validation"]) == 50 + 7 * 4 - 10
    assert float(lines[4]["fid_last"]) == 68.0 and float(lines[4]["fid_best"]) == 48.0


def test_markdown_and_latex_have_a_cell_for_every_column(sweep) -> None:
    reported(runs=sweep)
    lines = (sweep / "report" / "table.md").read_text().splitlines()
    assert {line.count("|") for line in lines if line.startswith("|")} == {1 + 3 + 2 * 3 + 3}
    body = (sweep / "report" / "table.tex").read_text()
    spec = re.search(r"\\begin\{tabular\}\{(\w+)\}", body)[1]
    for line in (line for line in body.splitlines() if line.endswith(r"\\")):
        spans = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d)\}", line))
        assert line.count("&") + spans == len(spec) - 1
    assert r"mlp\_gan" in body and r"\downarrow" in body and body.count(r"\textbf") == 6  # three columns of each


def test_ways_of_translations_are_rows_and_each_has_its_winner(sweep, capsys) -> None:
    for i in range(12):
        for file in (sweep / f"{i:02d}" / "eval").iterdir():
            file.unlink()
        for way, data in (("a2b", "digits"), ("b2a", "mnist")):
            score(sweep / f"{i:02d}", 3000, 1 + i + 20 * (way == "b2a"), name=f"-{way}", direction=way, dataset=data)
            Image.new("L", (4, 4)).save(sweep / f"{i:02d}" / "samples" / f"000000003000-{way}.png")
    reported(runs=sweep)
    table, printed = read(sweep), capsys.readouterr().out
    assert [row["direction"] for row in table] == ["a2b", "b2a"] * 4
    assert [float(row["fid_last_mean"]) for row in table] == [2, 22, 5, 25, 8, 28, 11, 31]
    assert re.findall(r"\*\*(\d+)\.", printed) == ["2", "61", "22", "4"]  # mean of 100 / fid: 61.1 and 4.55
    assert "12 runs" in (sweep / "report" / "report.html").read_text() and "do not compare directions" in printed
    shown = lambda: re.findall(r'img alt="samples of ([^"]*)"', (sweep / "report" / "report.html").read_text())  # noqa: E731
    assert len(shown()) == 24 and sum("a2b" in name for name in shown()) == 12
    page = (sweep / "report" / "report.html").read_text()
    assert "first pictures of the split" in page and "latents" not in printed
    assert page.split("Other seeds")[1].count("samples of") == 16  # of the first seed eight
    found = runs.read(sweep / "00")
    assert [found.grid(way).stem[-3:] for way in ("a2b", "b2a", "to_red")] == ["a2b", "b2a", "000"]
    for file in sweep.glob("*/samples/*-?2?.png"):
        file.unlink()
    reported(runs=sweep)  # one picture of all ways: once
    assert len(shown()) == 12 and not any("2" in name.split(", seed")[0] for name in shown())
    score(sweep / "00", 3000, 1, name="-c", direction="a2b", dataset="digits", seed=7)
    with pytest.raises(UsageError, match="seed: 0 | 7"):
        reported(runs=sweep)


def test_best_is_chosen_on_validation_and_never_on_what_is_reported(tmp_path, capsys) -> None:
    folder = make_run(tmp_path / "run", split="test")  # its eval.split was the reported one
    for images, fid in ((1000, 10.0), (2000, 20.0), (3000, 30.0)):
        score(folder, images, fid)
    reported(runs=folder)
    (row,) = read(folder)
    assert float(row["fid_last_mean"]) == 30 and "fid_best_mean" not in row
    assert "chosen on a split other than validation: run" in capsys.readouterr().out
    for images, fid in ((1000, 3.0), (2000, 1.0), (3000, 2.0)):  # now evaluated there: gancli eval which=all
        score(folder, images, fid, name="-v", split="validation")
    reported(runs=folder)
    assert float(read(folder)[0]["fid_best_mean"]) == 20
    reported("best=is", runs=folder)  # 100 / fid here, so the same checkpoint: higher is better
    assert float(read(folder)[0]["fid_best_mean"]) == 20
    with pytest.raises(UsageError, match="best=modes: neither|no value 'modes'"):
        reported("best=modes", runs=folder)


def test_what_is_missing_is_said_with_the_command_that_makes_it(sweep, capsys) -> None:
    (sweep / "00" / "eval" / "000000003000-classifier.json").unlink()
    (sweep / "01" / "eval" / "000000002000-classifier.json").unlink()
    (sweep / "02" / "eval" / "000000002000-classifier.json").write_text('{"values"')
    make_run(sweep / "12", model="mlp_gan", loss="lsgan", seed=3, state="failed")
    reported(runs=sweep)
    printed = capsys.readouterr().out
    for words in (
        "last checkpoint was not evaluated on test: 00; 12\n",
        "best checkpoint was not evaluated on test: ",
        f"\n\ngancli eval {sweep} {LIKE}\ngancli eval {sweep} which=best {LIKE}\n\n",
        "not finished: 12 failed at 3k images",
        f"could not be read: {sweep / '02'}/eval/000000002000-classifier.json",
        "rows have different numbers of seeds",
        "| 2 of 3 |",
    ):
        assert words in printed
    row = read(sweep)[0]
    assert (row["fid_last_n"], row["fid_best_n"], row["fid_best_std"]) == ("2", "1", "")
    first = next(line for line in printed.splitlines() if "| 2 of 3 |" in line)
    assert f"| {float(row['fid_best_mean']):.1f} (n = 1) |" in first  # a part does not lead


def test_the_command_for_what_is_missing_asks_for_the_protocol_of_what_is_there(tmp_path, capsys) -> None:
    first, second = (make_run(tmp_path / str(seed), seed=seed) for seed in (0, 1))
    facts = {"seed": 3, "repeats": 2, "ema": False, "images_generated": 360, "sampling": {"truncation": 0.7}}
    score(first, 3000, 9.0, **facts)
    target = options("features")["classifier"]["_target_"]
    for features, more in (({}, " features=classifier"), ({"_target_": target}, "")):
        for run in (first, second):
            cfg = yaml.safe_load((run / "config.yaml").read_text())
            cfg |= {"features": features, "eval": cfg["eval"] | {"metrics": ["is", "fid"]}}
            (run / "config.yaml").write_text(yaml.safe_dump(cfg))
        reported(runs=tmp_path)
        like = f"seed=3 repeats=2 ema=false sampling.truncation=0.7{more}"
        assert f"\ngancli eval {tmp_path} {like}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("scores", "places"),
    [
        ([(7.19, 0.10), (6.58, 0.08)], 2),
        ([(120.3, 8.1), (99.2, 4.0)], 1),
        ([(0.0123, 0.0004)], 4),
        ([(350.0, 1.2), (410.0, 8.0)], 0),
        ([(350.0, None)], 0),
        ([(0.5, None), (0.25, None)], 3),
        ([(0.0, None)], 2),
        ([(1e-9, 1e-9)], 6),
    ],
)
def test_as_many_digits_as_mean_something(scores, places) -> None:
    assert text.decimals([Score(mean, std, 1) for mean, std in scores]) == places


def test_numbers_that_ran_away_stay_short() -> None:
    assert text.cell(Score(3.3e33, 4.7e33, 2), 0) == "3.30e+33 ± 4.70e+33"
    assert (
        text.cell(Score(-2e9, None, 1), 0) == "-2.00e+09" and text.cell(Score(123456.0, 0.5, 2), 1) == "123456.0 ± 0.5"
    )


@pytest.mark.parametrize(
    ("images", "shown"), [(150_016, "150k"), (3008, "3.008k"), (2_000_000, "2M"), (999, "999"), (1_500_000, "1.5M")]
)
def test_counts_are_written_as_they_are_typed(images, shown) -> None:
    assert grouping.count(images) == shown
