"""The runs of a report: which are found and refused, who is grouped with whom, and what tells them apart."""

import json
import subprocess
import sys
from statistics import fmean
from typing import Any

import pytest
from conftest import ROOT
from written_runs import make_run, read, reported, score, write_json

from gancli.config.legacy import renewed_choices
from gancli.errors import UsageError
from gancli.verbs.report import grouping, runs

pytestmark = pytest.mark.usefixtures("undrawn")


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


def test_what_holds_no_run_is_skipped_and_counted(sweep, tmp_path, caplog) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    named = [str(sweep / "00"), str(tmp_path / "results"), str(tmp_path / "notes.txt")]
    assert runs.find(named) == [(sweep / "00").resolve()]
    assert "2 of 3 names hold no run" in caplog.text
    for wrong, words in ((named[1:], "holds no run"), ([named[0], "/no/such"], "matches nothing")):
        with pytest.raises(UsageError, match=words):
            runs.find(wrong)


@pytest.mark.parametrize("odd", ["a word", 3, [1], None])
def test_a_config_of_odd_structure_is_read_all_the_same(tmp_path, odd) -> None:
    folder = make_run(tmp_path / "run", model="dcgan", seed=0)
    whole = {"model": {"_target_": "gancli.models.dcgan.DCGAN"}, "data": {"_target_": "gancli.data.Digits"}}
    cfg = json.loads(json.dumps({"eval": odd, "loss": odd, **whole}))
    (folder / "config.yaml").write_text(json.dumps(cfg), encoding="utf-8")
    found = runs.read(folder)
    assert (found.eval_split, found.eval_best) == ("", "")


def test_a_config_that_cannot_be_read_is_named(sweep) -> None:
    for damage in (b"{bad", b"\xff\xfe", b"", b"model: 3"):
        (sweep / "03" / "config.yaml").write_bytes(damage)
        with pytest.raises(UsageError, match=rf"^{sweep}/03/config.yaml: .*; restore it, or leave this run out$"):
            reported(runs=sweep / "03")


def test_runs_that_cannot_be_read_are_left_out_in_one_line(sweep, caplog) -> None:
    whole = len(runs.read_all(str(sweep)))
    for name in ("02", "03"):
        (sweep / name / "config.yaml").write_text("{bad")
    found = runs.read_all(str(sweep))
    assert len(found) == whole - 2 and not {run.folder.name for run in found} & {"02", "03"}
    (line,) = caplog.messages
    assert line.startswith(f"left out 2 of {whole} runs that cannot be read: {sweep}/02/config.yaml: ")
    assert f"; {sweep}/03/config.yaml: " in line and "restore it" not in line
    reported(runs=sweep)
    assert len({row["model"] for row in read(sweep)}) == 2
    for each in sweep.glob("*/config.yaml"):
        each.write_text("{bad")
    with pytest.raises(UsageError, match=r"^\S+/config.yaml: "):
        runs.read_all(str(sweep))
