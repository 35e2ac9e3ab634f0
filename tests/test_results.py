"""The page of results, outputs/results/README.md, against what eval, complete and report wrote; and every picture."""

import csv
import json
import re
from pathlib import Path
from statistics import fmean, stdev

import pytest

from gancli.config import conf_dir

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "outputs" / "results"
BENCHMARKS = ROOT / "tests" / "benchmarks" / "results"
PAGE = (RESULTS / "README.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def card(name: str) -> dict:
    return json.loads((RESULTS / "eval" / f"{name}.json").read_text(encoding="utf-8"))


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


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


def test_quality_per_minute_is_what_was_measured() -> None:
    found = card("mnist-speedrun-2min")
    lines = re.findall(r"^\| (.*) \|$", section("Quality per minute"), re.MULTILINE)[1:]
    told = [
        [
            f"{v['images_per_s']:.0f}", f"{v['images']:,}", f"{v['seeds']}",
            f"{v['fid']:.2f}" + (f" ± {v['fid_sd']:.2f}" if v["seeds"] > 1 else ""),
            f"{v['precision']:.2f}", f"{v['recall']:.2f}",
        ]
        for v in sorted(found.values(), key=lambda v: v["fid"])
    ]  # fmt: skip
    assert [line.split(" | ")[1:] for line in lines] == told
    refined = f"an FID of {found['lapgan']['refined_fid']:.2f} (`refined_fid`)"
    assert refined in " ".join(section("Quality per minute").split())


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


def test_the_photographs_are_what_was_measured() -> None:
    told, found = " ".join(section("Photographs").split()), card("cifar10-acgan-1m")
    values, floor = found["values"], found["floor"]["values"]
    assert f"FID {values['fid']:.2f} (two halves of the test images: {floor['fid']:.2f})" in told
    for shares in (values, floor):
        precision, recall = (f"{shares[key]:.3f}"[1:] for key in ("precision", "recall"))
        assert f"{precision} and recall {recall}" in told or f"({precision} and {recall})" in told
        assert f"{100 * shares['accuracy']:.1f} %" in told
    assert f"is {100 * found['protocol']['features']['held_out_accuracy']:.1f} % right" in told


def test_the_ratios_of_speed_are_what_was_measured() -> None:
    (file,) = BENCHMARKS.glob("recipes-*.json")
    recipes = json.loads(file.read_text(encoding="utf-8"))["recipes"]
    lines = [
        line.split("|")[1:-1] for line in section("Speed").split("\n### ")[0].splitlines() if line.startswith("| `")
    ][1:]
    found = {name.strip(" `"): [cell.strip() for cell in cells] for name, *cells in lines}
    ways = ("fp32 / textbook", "bf16 / textbook", "bf16 / fp32")
    shown = lambda ratios: [f"{ratios[way]:.2f}" if way in ratios else "" for way in ways]  # noqa: E731
    assert found == {name: [str(each["batch_size"]), *shown(each["ratios"])] for name, each in recipes.items()}


def test_speed_on_two_threads_and_the_quickstart_are_what_was_measured() -> None:
    (file,) = BENCHMARKS.glob("2-threads-*.json")
    found = {name: each["ratios"] for name, each in json.loads(file.read_text(encoding="utf-8"))["recipes"].items()}
    told = " ".join(section("Speed").split())
    assert ", ".join(f"`{name}` {each['bf16 / fp32']:.2f}" for name, each in found.items()) + "." in told
    assert f"has {found['dcgan']['bf16 / textbook']:.2f} times the images" in told
    assert f"`dcgan` and {found['mlp_gan']['bf16 / textbook']:.2f} times for `mlp_gan`" in told
    fids = [card(f"digits-quickstart-{seed}")["values"]["fid"] for seed in range(3)]
    assert f"for any choice: {fmean(fids):.1f} ± {stdev(fids):.1f}, mean" in told


def test_the_knee_of_speed_is_what_was_measured() -> None:
    with (RESULTS / "eval" / "speed-dcgan.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["axis"] == "batch"]
    rates = {way: {int(r["batch"]): float(r["images_per_cpu_s"]) for r in rows if r["precision"] == way}
             for way in ("fp32", "bf16")}  # fmt: skip
    told = " ".join(section("Speed").split())
    turns = {way: {n: 1000 * n / rate for n, rate in found.items()} for way, found in rates.items()}
    for n, words in ((1, "takes {:.0f} ms in fp32 and {:.0f} ms in bf16"), (4, "four {:.0f} ms and {:.0f} ms")):
        assert words.format(*(found[n] for found in turns.values())) in told
    best = {way: 1000 / max(found.values()) for way, found in rates.items()}
    assert "at best {:.1f} ms in fp32 and {:.1f} ms in bf16".format(*best.values()) in told
    knees = [5 * round(turns[way][1] / best[way] / 5) for way in best]
    assert "at about {} images in fp32 and {} in bf16".format(*knees) in told


def test_bfloat16_changes_results_by_less_than_seeds_do() -> None:
    lines = section("Speed").split("### bfloat16 by default")[1].splitlines()
    rows = [[cell.strip() for cell in line.split("|")[2:4]] for line in lines if line.startswith("| `")]
    for row, (name, key) in zip(rows, {"vae_conv": "elbo", "dcgan": "fid", "gated": "nll"}.items(), strict=True):
        ways = [[card(f"bf16-{name}-{way}-{seed}") for seed in range(3)] for way in ("fp32", "bf16")]
        found = [[each["values"][key] for each in cards] for cards in ways]
        assert row == [", ".join(f"{value:.2f}" for value in values) for values in found]
        assert abs(fmean(found[0]) - fmean(found[1])) < stdev(found[0])
        assert {each["images_seen"] // 1000 for cards in ways for each in cards} == {600}


def test_the_modes_are_what_was_measured() -> None:
    rows = re.findall(r"^\| `(grid25|ring8)` \|(.*)\|$", PAGE, re.MULTILINE)
    assert len(rows) == 2
    for data, cells in rows:
        for seed, cell in enumerate(cells.split("|")):
            values = card(f"{data}-toy_gan-{seed}")["values"]
            assert cell.strip() == f"{values['modes']:.0f}, {values['high_quality']:.1f} %"


def test_the_likelihoods_are_what_was_measured() -> None:
    """The sentence on pixelcnn against the CSV and the JSON, the others against their JSONs."""
    rows = (RESULTS / "eval" / "mnist-pixelcnn.csv").read_text().splitlines()
    curve = {int(images): float(nats) for images, nats, *_ in (row.split(",") for row in rows[1:])}
    told = re.findall(r"([\d.]{5}) after\s(\d+)k", PAGE)
    assert len(told) == 4 and all(f"{curve[int(k) * 1000]:.2f}" == nats for nats, k in told)
    table = re.findall(r"^\| `(\w+)` \| (\d+)k \| ([\d.]+) \| ([\d.]+) \|", section("Likelihoods"), re.MULTILINE)
    assert len(table) == 4
    for model, images, nats, error in table:
        result = card(f"mnist-{model}-{images}k")
        assert result["images_seen"] == 1000 * int(images)
        assert result["protocol"]["levels"] == "2 levels, drawn once with seed 0"
        assert (nats, error) == (f"{result['values']['nll']:.2f}", f"{result['values']['nll_se']:.2f}"), model


def test_the_bounds_of_the_autoencoder_are_what_was_measured() -> None:
    told = " ".join(section("Variational autoencoders").split())
    one, many = card("mnist-vae-600k"), card("mnist-vae-600k-iwae")
    values = one["values"]
    assert f"an ELBO of {values['elbo']:.2f} nats (standard error {values['elbo_se']:.2f})" in told
    assert f"reconstruction {values['reconstruction']:.2f} plus KL {values['kl']:.2f}" in told
    assert f"{values['active_units']:.0f} of {values['latents']:.0f} latents active" in told
    assert f"k={many['values']['iwae_k']:.0f}`, by {many['values']['iwae']:.2f}" in told
    for each in (one, many):
        assert each["protocol"]["likelihood"]["kind"] == "bound" and each["protocol"]["split"] == "test"


def test_the_bounds_of_three_seeds_are_what_was_measured() -> None:
    told = " ".join(section("Variational autoencoders").split())
    for name in ("vae-600k-seed", "vae_conv-1500k-"):
        bounds = [card(f"mnist-{name}{seed}")["values"]["elbo"] for seed in range(3)]
        assert f" {fmean(bounds):.2f} ± {stdev(bounds):.2f}" in told
    wide = card("mnist-vae_conv-1500k-0-iwae")["values"]
    assert f"k={wide['iwae_k']:.0f}`, seed 0 of the latter is bounded by {wide['iwae']:.2f}." in told


def test_more_codes_in_training_give_a_tighter_bound() -> None:
    told = " ".join(section("Variational autoencoders").split())
    many, one = (card(f"mnist-iwae-300k-k{k}-0")["values"] for k in (50, 1))
    assert many["iwae_k"] == one["iwae_k"] == 500
    active, all_of = many["active_units"], many["latents"]
    assert f"by {many['iwae']:.2f} nats, with {active:.0f} of {all_of:.0f} latents active" in told
    assert f"by {one['iwae']:.2f} and with {one['active_units']:.0f}." in told


def test_the_codes_are_what_was_measured() -> None:
    told = " ".join(section("Discrete codes").split())
    bound, drawn = card("mnist-vqvae-400k"), card("mnist-vqvae-400k-classifier")
    values, shares = bound["values"], drawn["values"]
    assert f"at most {values['nll_bound']:.2f} nats" in told and bound["protocol"]["likelihood"]["kind"] == "bound"
    assert f"reconstruction {values['reconstruction']:.2f} plus {values['kl']:.2f} for the codes" in told
    assert (
        f"{values['codes_used']:.0f} of {values['codes']:.0f} codes in use, perplexity {values['perplexity']:.1f}"
        in told
    )
    assert f"{values['psnr']:.2f} dB" in told
    assert f"FID {shares['fid']:.2f} (two halves of the test images: {drawn['floor']['values']['fid']:.2f})" in told
    assert f"{100 * shares['accuracy']:.1f} % of the digits" in told


def test_the_best_codes_are_what_was_measured() -> None:
    told = " ".join(section("Discrete codes").split())
    bound, drawn = card("mnist-best-vqvae"), card("mnist-best-vqvae-classifier")
    values, shares = bound["values"], drawn["values"]
    assert f"at most {values['nll_bound']:.2f} nats (reconstruction {values['reconstruction']:.2f}" in told
    assert f"plus {values['kl']:.2f}), {values['codes_used']:.0f} of {values['codes']:.0f} codes in use" in told
    assert f"perplexity {values['perplexity']:.1f}, {values['psnr']:.2f} dB, FID {shares['fid']:.2f}" in told
    assert f"halves: {drawn['floor']['values']['fid']:.2f}), and {100 * shares['accuracy']:.1f} % of the digits" in told
    bound, drawn = card("mnist-best-vqvae-1")["values"], card("mnist-best-vqvae-1-classifier")["values"]
    assert (
        f"Seed 1 has {bound['nll_bound']:.2f} nats with {bound['codes_used']:.0f} of {bound['codes']:.0f} codes" in told
    )
    assert f"in use, FID {drawn['fid']:.2f}, and {100 * drawn['accuracy']:.1f} % of the digits" in told


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
