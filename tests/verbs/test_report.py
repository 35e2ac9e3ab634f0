"""Reports over run folders written by hand: who is grouped with whom, which numbers stand where, what is refused."""

import csv
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import ROOT
from helpers import compose
from PIL import Image

from gancli.config.legacy import renewed_choices
from gancli.errors import UsageError
from gancli.metrics.registry import METRICS
from gancli.verbs.report import curves, grouping, runs, sheet, text
from gancli.verbs.report.run import report
from gancli.verbs.report.table import Score

PROTOCOL = {
    "metrics": ["fid", "is"], "images_generated": 1000, "images_reference": 360, "dataset": "digits", "split": "test",
    "features": {"name": "classifier", "weights_sha256": "ab" * 32}, "is_splits": 10, "ema": True, "seed": 0,
    "repeats": 1, "batch_size": 64, "device": "cpu", "versions": {"torch": "2.15.0"},
}  # fmt: skip
FLOOR = {"images": 180, "values": {"fid": 9.5, "is": 7.5}}
MODELS = {"dcgan": ("gancli.models.dcgan.DCGAN", "adam"), "mlp_gan": ("gancli.models.mlp_gan.MLPGAN", "sgd")}


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def make_run(
    folder: Path, *, model: str = "dcgan", loss: str = "hinge", seed: int = 0, fid: float = 50.0, images: int = 3000,
    typed: tuple[str, ...] = ("model", "loss", "seed"), state: str = "done", split: str = "validation", **settings: Any,
) -> Path:  # fmt: skip
    """Write a run with three validation scores, of which the second is the best, and a grid; without evaluations."""
    target, optimizer = MODELS[model]
    cfg = {
        "seed": seed, "images": images, "batch_size": 64, "model": {"_target_": target, "width": 64, "dim": None},
        "loss": {"_target_": f"gancli.losses.adversarial.{loss.title()}"},
        "optimizer": {"_target_": f"torch.optim.{optimizer}", "lr": 1e-3}, "data": {"_target_": "gancli.data.Digits"},
        "eval": {"every": 1000, "split": split, "best": "fid"}, "runtime": {"device": "cpu", "precision": "fp32"},
        "ema": {"half_life": 10_000}, **settings,
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(cfg))
    choices = {
        "model": model,
        "loss": loss,
        "optimizer": optimizer,
        "data": "digits",
        "runtime": "cpu",
        "recipe": model,
    }
    overrides = [f"{key}={choices.get(key, cfg.get(key))}" for key in typed]
    status = {"state": state, "overrides": overrides, "choices": choices, "seconds": 99.0, "error": None, "job": 0}
    write_json(folder / "status.json", status)
    write_json(folder / "machine.json", [{"device": "CPU (test)", "from_images": 0}])
    rows = [
        {
            "images": images * i // 3,
            "runtime/images_per_s": 100.0,
            "loss/generator": 1.0 / i,
            "eval/fid": value,
            "eval/is": i,
        }
        for i, value in ((1, fid + 30), (2, fid - 10), (3, fid))
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "samples").mkdir()
    for at in (0, images):
        Image.fromarray(np.full((8, 8, 3), 50 + seed, np.uint8)).save(folder / "samples" / f"{at:012d}.png")
    return folder


def score(run: Path, images: int, fid: float, *, name: str = "", **protocol: Any) -> Path:
    """Write the evaluation of a checkpoint."""
    facts = PROTOCOL | {"checkpoint_sha256": f"{run}{images}"} | protocol
    values = {"fid": fid, "is": 100 / fid, "is_std": 0.1}
    file = run / "eval" / f"{images:012d}-classifier{name}.json"
    write_json(file, {"values": values, "floor": FLOOR, "images_seen": images, "protocol": facts})
    return file


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two models, two losses, three seeds; test scores at the end and at the best of validation."""
    for i, (model, loss, seed) in enumerate((m, n, s) for m in MODELS for n in ("hinge", "lsgan") for s in range(3)):
        folder = make_run(tmp_path / "sweep" / f"{i:02d}", model=model, loss=loss, seed=seed, fid=50 + 7 * i)
        score(folder, 3000, 60 + i**1.5)
        score(folder, 2000, 40 + i**1.5)
    return tmp_path / "sweep"


@pytest.fixture(autouse=True)
def _undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the curves out, which take a second, where nothing looks at them."""
    if "page" not in request.node.name:
        for name in ("scores", "losses"):
            monkeypatch.setattr(curves, name, lambda table: {})
        monkeypatch.setattr(sheet, "samples", lambda table: None)


def reported(*overrides: str, **values: Any) -> None:
    words = [f"{key}='{value}'" for key, value in values.items()]
    report(compose("report", [*words, *overrides]))


def read(folder: Path, name: str = "table.csv") -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "report" / name).open()))


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


class Page(HTMLParser):
    """Tags that are opened and closed, and what is fetched from elsewhere."""

    VOID = {"meta", "img", "path", "use", "rect", "br", "link"}

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.count: dict[str, int] = {}
        self.sources: list[str] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        self.sources += [v for k, v in attributes if k in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: Any) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_needs_no_other_file(sweep) -> None:
    reported(runs=sweep)
    markup = (sweep / "report" / "report.html").read_text()
    page = Page(markup)
    assert page.open == []
    kinds = [source.partition(";base64,")[0] for source in page.sources]
    assert {kind: kinds.count(kind) for kind in kinds} == {"data:image/svg+xml": 3, "data:image/png": 12}
    assert len(set(page.sources)) == 3 + 3  # FID, IS and a loss; a grid per seed
    assert "http" not in re.sub(r"base64,[\w+/=]+", "", markup)
    assert "<b>" in markup and "real images" in markup and "features.weights_sha256" in markup
    assert (sweep / "report" / "fid.pdf").read_bytes().startswith(b"%PDF")
    with Image.open(sweep / "report" / "samples.png") as drawn:
        grey = np.asarray(drawn.convert("RGB"))[..., 0]
    assert (grey == 50).mean() > 0.2 and np.isin(grey, (51, 52)).mean() < 0.01  # the grids of seed 0 alone


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
        f"\n\ngancli eval {sweep}\ngancli eval {sweep} which=best\n\n",
        "not finished: 12 failed at 3k images",
        f"could not be read: {sweep / '02'}/eval/000000002000-classifier.json",
        "rows have different numbers of seeds",
        "| 2 of 3 |",
    ):
        assert words in printed
    row = read(sweep)[0]
    assert (row["fid_last_n"], row["fid_best_n"], row["fid_best_std"]) == ("2", "1", "")


def test_a_repeated_seed_is_no_further_seed(sweep, capsys) -> None:
    again = make_run(sweep / "again", model="dcgan", loss="hinge", seed=1)
    score(again, 3000, 77.0)
    reported(runs=sweep)
    assert "older runs of a repeated seed, left out: 01" in capsys.readouterr().out
    row = read(sweep)[0]
    assert row["seeds"] == "3" and float(row["fid_last_mean"]) == pytest.approx(fmean([60, 77, 60 + 2**1.5]))


def test_the_fewest_columns_that_tell_runs_apart(tmp_path) -> None:
    def columns(*settings: dict[str, Any]) -> list[str]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        made = [runs.read(make_run(folder / str(i), **each)) for i, each in enumerate(settings)]
        keys = grouping.columns(made)
        assert len(set(grouping.labels(made, keys))) == (2 if keys else 1)
        return keys

    assert columns({"seed": 0}, {"seed": 1}) == []
    assert columns({"model": "dcgan"}, {"model": "mlp_gan"}) == ["model"]
    assert columns({"images": 3000}, {"images": 6000}) == ["images"]  # nobody typed it, and yet
    typed = ("model", "optimizer")
    assert columns({"model": "dcgan", "typed": typed}, {"model": "mlp_gan", "typed": typed}) == list(typed)
    assert columns({"runtime": {"precision": "fp32", "device": "cpu"}}, {"runtime": {"precision": "bf16"}}) == [
        "runtime.precision"
    ]
    assert columns({"eval": {"every": 5, "best": "fid"}}, {}) == []  # changes no weight


def test_groups_that_nobody_types_are_no_columns_whatever_they_were_called(tmp_path) -> None:
    """Written by 0.1 as recipe, lab, levels@data and scores@eval, and today with internal/ in front."""
    former = {"recipe": "a_b", "lab": "points", "levels@data": "binary", "scores@eval": "nll"}
    today = {f"internal/{group}": option for group, option in former.items()}
    assert renewed_choices({"data": "mnist", **former}) == renewed_choices({"data": "mnist", **today})
    assert renewed_choices(today) == today
    for i, internal in enumerate((former, today, {})):
        make_run(tmp_path / str(i), seed=i)
        status = json.loads((tmp_path / str(i) / "status.json").read_text())
        write_json(tmp_path / str(i) / "status.json", status | {"choices": {"data": "mnist", **internal}})
    made = [runs.read(tmp_path / str(i)) for i in range(3)]
    assert [run.choices for run in made] == [{"data": "mnist"}] * 3 and grouping.columns(made) == []


def test_without_the_command_line_classes_are_the_names(sweep) -> None:
    (sweep / "00" / "status.json").unlink()
    reported(runs=sweep)
    assert [row["model"] for row in read(sweep)] == ["DCGAN", "DCGAN", "MLPGAN", "MLPGAN"]


def test_seconds_go_on_over_resumptions_and_leave_evaluations_out(tmp_path) -> None:
    folder = make_run(tmp_path / "run")
    rows = [
        {"images": 100, "runtime/images_per_s": 10.0},
        {"images": 100, "eval/fid": 3.0},
        {"images": 300, "runtime/images_per_s": 100.0},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"images": 4')
    run = runs.read(folder)
    assert run.seconds == 10 + 2 and run.images == 300
    (folder / "metrics.jsonl").unlink()
    assert runs.read(folder).seconds == 99  # of the last command: better than nothing


def test_the_page_of_a_sweep_without_scores_shows_losses_samples_costs_and_what_scores_it(sweep, cli) -> None:
    for run in sweep.iterdir():
        shutil.rmtree(run / "eval")
    answer = cli("report", str(sweep))
    assert answer.code == 0, answer.err
    assert "| model | loss | seeds | loss/generator | images | seconds | device |" in answer.out
    assert "| 0.333 ± 0.000 | 3k | 30 ± 0 | CPU (test) |" in answer.out
    assert f"\n\ngancli eval {sweep}\n\n" in answer.out and "Not scored on the test split yet" in answer.out
    html = (sweep / "report" / "report.html").read_text()
    assert f"<pre>gancli eval {sweep}</pre>" in html
    assert "<details open><summary>Losses" in html
    assert html.count('alt="samples of') > 3 and 'alt="fid over images"' in html
    assert (sweep / "report" / "samples.png").is_file()
    assert {"loss/generator", "images"} <= set(next(csv.reader((sweep / "report" / "table.csv").open())))
    other = cli("report", str(sweep / "00"), f"{sweep}/0[12]", "split=validation", "out=o")  # partly, and elsewhere
    assert f"gancli eval {sweep}/00 '{sweep}/0[12]' split=validation" in other.out
    refused = cli("report", str(sweep), "best=fid")
    assert refused.code == 2 and "which fid needs" in refused.err


def test_names_that_hold_no_run_are_left_out(sweep, cli) -> None:
    (sweep / "results.csv").write_text("seed\n")
    answer = cli("report", str(sweep / "results.csv"), str(sweep / "00"), "out=o")
    assert answer.code == 0 and "1 run -> " in answer.out
    assert [path.name for path in runs.find([str(sweep / "results.csv"), str(sweep / "03")])] == ["03"]


def test_named_runs_globs_sweeps_and_words(sweep, cli) -> None:
    assert len(runs.find(str(sweep))) == 12 and runs.find([str(sweep), str(sweep / "03")])[3] == sweep / "03"
    assert [path.name for path in runs.find(f"{sweep}/0[12]")] == ["01", "02"]
    for named, words in (("/no/such", "matches nothing"), (str(sweep / "00" / "eval"), "holds no run")):
        with pytest.raises(UsageError, match=words):
            runs.find(named)
    assert cli("report", f"runs={sweep}/0*", "out=there").out.count("10 runs -> there/report.html") == 1
    strange = sweep.rename(sweep.parent / "a sweep, (mine)")
    answer = cli("report", str(strange / "00"), f"{strange}/0[12]", "out=here", "metrics=[is]")
    assert answer.code == 0, answer.err
    assert "3 runs -> here/report.html" in answer.out and "| FID" not in answer.out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "runs is missing"),
        (["/no/such/folder"], "matches nothing"),
        (
            ["{sweep}", "split=train", "metrics=[fid]"],
            "on the train split, which fid needs; score them with:\ngancli eval {sweep} split=train 'metrics=[fid]'\n",
        ),
        (["{sweep}", "metrics=[fidd]"], "did you mean 'fid'"),
        (["{sweep}", "best=fidd"], "did you mean 'fid'"),
        (["{sweep}", "protocols=any"], "expected one of same, mixed"),
        (
            ["{sweep}", "only.images_generated=7"],
            "with only={{'images_generated': 7}}; score them with:\ngancli eval {sweep}\n",
        ),
        (["{mixed}"], "images_generated: 1000 | 500"),
    ],
)
def test_usage_errors_answer_without_torch(sweep, tmp_path, argv, words) -> None:
    if argv == ["{mixed}"]:
        score(sweep / "03", 3000, 1.0, images_generated=500)
    argv = [word.format(sweep=sweep, mixed=sweep) for word in argv]
    code = "import sys; from gancli.cli import main; c = main(sys.argv[1:]); print('torch' in sys.modules, c)"
    answer = subprocess.run([sys.executable, "-c", code, "report", *argv], capture_output=True, text=True, cwd=ROOT)
    words = words.format(sweep=sweep)
    assert words in answer.stderr and answer.stdout.split() == ["False", "2"], answer.stderr
    assert answer.stderr.count("\n") == (words.count("\n") or 1) and not (sweep / "report").exists()


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


@pytest.mark.parametrize(
    ("images", "shown"), [(150_016, "150k"), (3008, "3.008k"), (2_000_000, "2M"), (999, "999"), (1_500_000, "1.5M")]
)
def test_counts_are_written_as_they_are_typed(images, shown) -> None:
    assert grouping.count(images) == shown


def test_settings_of_a_metric_are_named_after_it() -> None:
    """What a protocol may leave out where the metric was not asked for is told by its name."""
    for metric in METRICS.values():
        assert all(key.startswith(f"{metric.name}_") for key in metric.constants)


def test_what_holds_no_run_is_skipped_and_counted(sweep, tmp_path, caplog) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    named = [str(sweep / "00"), str(tmp_path / "results"), str(tmp_path / "notes.txt")]
    assert runs.find(named) == [(sweep / "00").resolve()]
    assert "2 of 3 names hold no run" in caplog.text
    for wrong, words in ((named[1:], "holds no run"), ([named[0], "/no/such"], "matches nothing")):
        with pytest.raises(UsageError, match=words):
            runs.find(wrong)
