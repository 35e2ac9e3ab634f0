"""gancli eval with options of sampling: a card per value, never mixed with others, and a curve."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from helpers import compose, run
from PIL import Image

import gancli
from gancli.errors import UsageError
from gancli.metrics import scorecard
from gancli.training import checkpoint
from gancli.verbs.evaluate import run as evaluate
from gancli.verbs.evaluate import samplings
from gancli.verbs.report import protocols
from gancli.verbs.report.runs import read

QUICK = ["n=30", "features.epochs=1", "runtime=cpu", "metrics=[fid,precision_recall]"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("biggan")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANCLI_CACHE", str(tmp_path_factory.mktemp("cache")))
        run(folder, "images=32", "data.n_test=40", model="biggan")
        cards(folder, "sampling.truncation=[null,1,0.25]")
    return folder


def cards(folder: Path, *more: str) -> dict[str, float]:
    return evaluate.evaluate(compose("eval", [f"ckpt={folder}", "features=classifier", *QUICK, *more]))


def test_each_value_of_a_list_has_a_card_whose_protocol_says_so(trained):
    found = {file.name: json.loads(file.read_text()) for file in (trained / "eval").glob("*.json")}
    stem, end = f"{checkpoint.load(trained).images:012d}", "classifier.json"
    assert set(found) == {f"{stem}-{end}", f"{stem}-truncation1.0-{end}", f"{stem}-truncation0.25-{end}"}
    plain, truncated = found[f"{stem}-{end}"], found[f"{stem}-truncation0.25-{end}"]
    assert "sampling" not in plain["protocol"] and plain["protocol"]["batch_norm"] == "eval"
    assert truncated["protocol"]["sampling"] == {"truncation": 0.25}
    assert truncated["protocol"]["batch_norm"] == "standing"
    assert truncated["values"]["fid"] != plain["values"]["fid"]
    rest = {"sampling", "batch_norm"}
    same = [{k: v for k, v in card["protocol"].items() if k not in rest} for card in (plain, truncated)]
    assert same[0] == same[1]


def test_the_curve_is_a_table_and_a_figure(trained):
    (file,) = (trained / "eval").glob("*-truncation-test-classifier-*.csv")
    rows = list(csv.DictReader(file.open(encoding="utf-8")))
    assert [row["truncation"] for row in rows] == ["", "1.0", "0.25"] and float(rows[1]["fid"]) > 0
    assert {"precision", "recall"} <= set(rows[0])
    assert np.asarray(Image.open(file.with_suffix(".png"))).std() > 0


def test_a_report_does_not_mix_them_unless_told_to(trained, cli):
    found = read(trained).cards
    assert set(protocols.differing(found)) == {"sampling.truncation", "batch_norm"}
    answer = cli("report", str(trained), "split=test")
    assert answer.code == 2 and "sampling.truncation" in answer.err
    for chosen, fid in (("null", False), ("0.25", True)):
        answer = cli("report", str(trained), "split=test", f"only.sampling.truncation={chosen}", "out=page")
        assert answer.code == 0, answer.err
        assert ("truncation 0.25" in answer.out + answer.err) == fid


def test_the_values_of_a_list_become_ways_of_sampling():
    ways = samplings.each({"truncation": [1, None, 0.25]}, {"_target_": "gancli.models.biggan.BigGAN"})
    assert [way.name for way in ways] == ["truncation1.0", "", "truncation0.25"]
    assert [way.at for way in ways] == [1.0, None, 0.25] and isinstance(ways[0].at, float)
    assert samplings.each({}, {"_target_": "gancli.models.dcgan.DCGAN"}) == [samplings.Sampling({})]


def test_the_library_and_the_short_key_say_the_same(trained, cli):
    words = [str(trained), "features=classifier", *QUICK]
    listed = gancli.evaluate(words, truncation=[1, 0.25])
    assert {"truncation=1.0/fid", "truncation=0.25/fid", "truncation=0.25/recall"} <= set(listed)
    assert gancli.evaluate(words, truncation=0.25)["fid"] == listed["truncation=0.25/fid"]
    answer = cli("eval", *words, "truncation=0.25", "again=true")
    assert answer.code == 0 and "truncation 0.25" in answer.out, answer.err
    assert f"{listed['truncation=0.25/fid']:.4f}" in answer.out


@pytest.mark.parametrize(
    "more, says",
    [
        (["sampling.truncation=[1,2]", "which=all"], "one curve at a time"),
        (["sampling.truncation=[]"], "is empty"),
        (["sampling.truncation=[1,2]", "sampling.temperature=[1,2]"], "a curve has one axis"),
        (["sampling.truncation=[1,-2]"], "sampling.truncation=-2: must be above 0"),
        (["sampling.temperature=1"], "no such key .* models that have it: .*pixelcnn"),
    ],
)
def test_what_cannot_be_scored_is_refused(trained, more, says):
    with pytest.raises(UsageError, match=says):
        cards(trained, *more)


def test_options_of_sampling_need_a_checkpoint(cli):
    for key in ("sampling.truncation", "truncation"):
        answer = cli("eval", "images=x.zip", "data=digits", f"{key}=0.5")
        assert answer.code == 2 and answer.err.count("\n") == 1, answer.err
        assert "it applies to checkpoints" in answer.err or "ckpt is missing" in answer.err
    answer = cli("eval", "images=x.zip", "data=digits", "truncashun=0.5")
    assert answer.code == 2 and "truncashun: no such key" in answer.err


def test_a_protocol_names_its_options_in_words():
    assert scorecard.drawn({}) == "" and scorecard.drawn({"sampling": {"truncation": 0.5}}) == ", truncation 0.5"
