"""The page of results, outputs/results/README.md, against what eval, complete and report wrote; and every picture."""

import csv
import re
from statistics import fmean, stdev

import pytest
from results_page import PAGE, README, RESULTS, ROOT, card, section

from gancli.config import conf_dir


@pytest.mark.parametrize("page", [ROOT / "README.md", RESULTS / "README.md"], ids=["readme", "results"])
def test_every_picture_and_link_is_there(page) -> None:
    targets = re.findall(r"\]\((?!http)(.*?)\)", page.read_text(encoding="utf-8"))
    assert targets
    for target in targets:
        path, _, heading = target.partition("#")
        file = page.parent / path
        assert file.exists(), target
        if heading:
            lines = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}, target


def test_every_experiment_that_is_named_exists() -> None:
    named = set(re.findall(r"experiment=([\w/]*\w)", PAGE + README))
    assert named and all((conf_dir() / "experiment" / f"{name}.yaml").is_file() for name in named - {"lecture"})


def test_the_objectives_are_what_was_measured() -> None:
    """The table against the CSV of gancli report, whose rows are those of conf/objective/."""
    shown = re.findall(r"^\| `(\w+)` \| ([\d.]+) ± ([\d.]+) \| ([\d.]+) ± ([\d.]+) \|$", PAGE, re.MULTILINE)
    with (RESULTS / "eval" / "mnist-objectives.csv").open(encoding="utf-8") as file:
        measured = {row["objective"]: row for row in csv.DictReader(file)}
    assert {row[0] for row in shown} == set(measured) == {f.stem for f in (conf_dir() / "objective").glob("*.yaml")}
    for name, *cells in shown:
        keys = ("fid_last_mean", "fid_last_std", "is_last_mean", "is_last_std")
        values = [float(measured[name][key]) for key in keys]
        assert cells == [f"{value:.{digits}f}" for value, digits in zip(values, (1, 1, 2, 2))], name


def test_the_two_gans_are_what_was_measured() -> None:
    told, sparse, values = " ".join(PAGE.split()), card("mnist-dcgan-900k"), card("mnist-cgan-600k")["values"]
    assert f"FID {values['fid']:.2f}, and {100 * values['accuracy']:.1f} % of the digits" in told
    assert f"900k images gave FID {sparse['values']['fid']:.2f}" in told
    best = [card(f"mnist-best-300k{seed}")["values"] for seed in ("", "-1", "-2")]
    fids = [each["fid"] for each in best]
    assert f"FID {fmean(fids):.2f} ± {stdev(fids):.2f} after 300k images" in told
    longer, falling = (card(f"mnist-best-600k-{each}")["values"]["fid"] for each in ("1", "linear-1"))
    assert f"{longer:.2f} after 600k (seed 1, {fids[1]:.2f} after 300k), and {falling:.2f} with" in told
    shares = [fmean(each[key] for each in best) for key in ("precision", "recall")]
    assert "precision {:.3f} and recall {:.3f}".format(*shares).replace("0.", ".") in told
    dense = card("mnist-dcgan-500k")
    assert f"FID {dense['values']['fid']:.2f} by" in told
    assert f"{dense['floor']['values']['fid']:.2f} to each other" in PAGE
    assert f"{100 * sparse['protocol']['features']['held_out_accuracy']:.1f} % right" in PAGE


@pytest.mark.parametrize("minutes", [2, 10])
def test_quality_per_minute_is_what_was_measured(minutes) -> None:
    found = card(f"mnist-speedrun-{minutes}min")
    told = section("Quality per minute").split("\n### ")[minutes == 10]
    lines = re.findall(r"^\| (.*) \|$", told, re.MULTILINE)[1:]
    expected = [
        [
            f"{v['images_per_s']:.0f}", f"{v['images']:,}", f"{v['seeds']}",
            f"{v['fid']:.2f}" + (f" ± {v['fid_sd']:.2f}" if v["seeds"] > 1 else ""),
            f"{v['precision']:.2f}", f"{v['recall']:.2f}",
        ]
        for v in sorted(found.values(), key=lambda v: v["fid"])
    ]  # fmt: skip
    assert [line.split(" | ")[1:] for line in lines] == expected
    assert f"an FID of {found['lapgan']['refined_fid']:.2f} (`refined_fid`)" in " ".join(told.split())
    assert {each["minutes"] for each in found.values()} == {minutes}


def test_quality_per_minute_of_photographs_is_what_was_measured() -> None:
    two, ten = (card(f"photographs-speedrun-{minutes}min") for minutes in (2, 10))
    told = section("Quality per minute").split("\n### Photographs")[1]
    lines = re.findall(r"^\| (.*) \|$", told, re.MULTILINE)[1:]
    order = sorted(two, key=lambda name: (name not in ten, ten.get(name, two[name])["fid"]))
    shown = lambda v: f"{v['fid']:.2f} | {v['precision']:.2f} | {v['recall']:.2f}" if v else "- | - | -"  # noqa: E731
    expected = [f"{two[name]['images_per_s']:.0f} | {shown(two[name])} | {shown(ten.get(name))}" for name in order]
    assert [line.split(" | ", 1)[1] for line in lines] == expected
    assert {each["seeds"] for each in (*two.values(), *ten.values())} == {1}


@pytest.mark.parametrize("name, after", [("200k", " after 200k images"), ("wide-400k", ", precision")])
def test_the_classes_are_what_was_measured(name, after) -> None:
    told = " ".join(PAGE.split())
    found = [card(f"mnist-classes-{name}-{seed}")["values"] for seed in range(3)]
    fids, right = [each["fid"] for each in found], [100 * each["accuracy"] for each in found]
    assert f"FID {fmean(fids):.2f} ± {stdev(fids):.2f}{after}" in told
    assert f"and {fmean(right):.1f} ± {stdev(right):.1f} % of the digits" in told


def test_the_thousand_modes_are_what_was_measured() -> None:
    told = " ".join(section("A thousand modes").split())
    found = [card(f"stacked-400k-{seed}") for seed in range(3)]
    assert all(each["values"]["modes"] == 1000 and each["protocol"]["images_generated"] == 26_000 for each in found)
    apart = [each["values"]["reverse_kl"] for each in found]
    assert f"histogram of {fmean(apart):.3f} ± {stdev(apart):.3f} nats" in told
    assert f"1000 modes, {found[0]['floor']['values']['reverse_kl']:.3f})" in told
    rows = re.findall(
        r"^\| (relativistic|non).*\| (R1.*) \| (\d+) \| ([\d.]+) \|$", section("A thousand modes"), re.MULTILINE
    )
    for name, (*_, modes, apart) in zip(("pairs-both", "pairs-r1", "plain-both", "plain-r1"), rows, strict=True):
        values = card(f"stacked-r3gan-{name}")["values"]
        assert (modes, apart) == (f"{values['modes']:.0f}", f"{values['reverse_kl']:.3f}")


def test_the_photographs_are_what_was_measured() -> None:
    told, found = " ".join(section("Photographs").split()), card("cifar10-acgan-1m")
    values, floor = found["values"], found["floor"]["values"]
    assert f"FID {values['fid']:.2f} (two halves of the test images: {floor['fid']:.2f})" in told
    for shares in (values, floor):
        precision, recall = (f"{shares[key]:.3f}"[1:] for key in ("precision", "recall"))
        assert f"{precision} and recall {recall}" in told or f"({precision} and {recall})" in told
        assert f"{100 * shares['accuracy']:.1f} %" in told
    assert f"is {100 * found['protocol']['features']['held_out_accuracy']:.1f} % right" in told


def test_the_modes_are_what_was_measured() -> None:
    rows = re.findall(r"^\| `(grid25|ring8)` \|(.*)\|$", PAGE, re.MULTILINE)
    assert len(rows) == 2
    for data, cells in rows:
        for seed, cell in enumerate(cells.split("|")):
            values = card(f"{data}-toy_gan-{seed}")["values"]
            assert cell.strip() == f"{values['modes']:.0f}, {values['high_quality']:.1f} %"


def rows(columns: int) -> list[list[str]]:
    """Return the cells of the rows with as many columns in the tables of translations."""
    lines = re.findall(r"^\| (.*) \|$", section("Image to image"), re.MULTILINE)
    return [cells for line in lines if len(cells := line.split(" | ")) == columns and cells[0] != "---"]


def test_red_to_blue_is_what_was_measured() -> None:
    found = [row for row in rows(3) if row[0].isdigit()]
    assert len(found) == 3
    for seed, *cells in found:
        for way, cell in zip(("a2b", "b2a"), cells):
            assert cell == f"{100 * card(f'red2blue-{seed}-{way}')['values']['all_right']:.2f} %"


def test_recolouring_is_what_was_measured() -> None:
    """Mean and worst of the twelve pairs of different colours, for each seed."""
    found = [row for row in rows(4) if row[0].isdigit()]
    assert len(found) == 3
    colours = ("red", "green", "blue", "yellow")
    for seed, mean, worst, pair in found:
        shares = {
            f"{source} to {target}": facts["all"]
            for target in colours
            for source, facts in card(f"recolour-{seed}-to_{target}")["details"]["right_by_source"].items()
        }
        assert len(shares) == 12
        assert (mean, pair) == (f"{100 * sum(shares.values()) / 12:.1f} %", min(shares, key=shares.get))
        assert worst == f"{100 * min(shares.values()):.1f} %"


def test_edges_to_shapes_are_what_was_measured() -> None:
    found = [row for row in rows(5) if row[0].isdigit()]
    assert len(found) == 3
    for seed, l1, *shares in found:
        values = card(f"edges2shapes-{seed}")["values"]
        right = [values[f"{key}_right"] for key in ("colour", "shape", "place")]
        assert [l1, *shares] == [f"{values['true_l1']:.3f}", *(f"{100 * share:.1f} %" for share in right)]


def test_kept_labels_are_what_was_measured() -> None:
    """Every digit of both ways and three seeds."""
    found = [row for row in rows(13) if row[1].isdigit()]
    assert len(found) == 6
    for way, seed, share, *digits in found:
        result = card(f"mnist2digits-{seed}-{ {'MNIST to digits': 'a2b', 'digits to MNIST': 'b2a'}[way] }")
        assert share == f"{100 * result['values']['labels_kept']:.1f}"
        assert digits == [f"{100 * result['details']['labels_kept']['shares'][str(d)]:.0f}" for d in range(10)]
