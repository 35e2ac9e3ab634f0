"""Speed on the page of results, outputs/results/README.md, against what the benchmarks wrote."""

import csv
import json
import re
from statistics import fmean, stdev

from results_page import BENCHMARKS, RESULTS, card, section


def test_memory_formats_on_the_page_are_the_measured_ones():
    found = json.loads((BENCHMARKS / "formats-cpu-amd-epyc-avx512.json").read_text(encoding="utf-8"))["recipes"]
    ratios = {name: each["ratios"]["channels last / channels first"] for name, each in found.items()}
    told = " ".join(section("Speed").split("Memory formats:")[1].split("`make train`")[0].split())
    for name, ratio in re.findall(r"`(\w+)` \(?(\d\.\d\d)", told):
        assert f"{ratios.pop(name):.2f}" == ratio
    low, high = re.search(r"between (\S+) and (\S+),", told).groups()
    assert f"{min(ratios.values()):.2f}" == low
    assert f"{max(ratios.values()):.2f}" == high


def test_the_ratios_of_speed_are_what_was_measured() -> None:
    (file,) = BENCHMARKS.glob("recipes-cpu-intel-*.json")
    recipes = json.loads(file.read_text(encoding="utf-8"))["recipes"]
    table = section("Speed").split("On two threads")[0].splitlines()
    lines = [line.split("|")[1:-1] for line in table if line.startswith("| `")][1:]
    found = {name.strip(" `"): [cell.strip() for cell in cells] for name, *cells in lines}
    ways = ("fp32 / textbook", "bf16 / textbook", "bf16 / fp32")
    shown = lambda ratios: [f"{ratios[way]:.2f}" if way in ratios else "" for way in ways]  # noqa: E731
    assert found == {name: [str(each["batch_size"]), *shown(each["ratios"])] for name, each in recipes.items()}


def test_speed_on_two_threads_and_the_quickstart_are_what_was_measured() -> None:
    chips = [
        json.loads((BENCHMARKS / f"2-threads-cpu-{chip}-avx512.json").read_text(encoding="utf-8"))["recipes"]
        for chip in ("intel-r-xeon-r-processor", "amd-epyc")
    ]
    cell = lambda ratios, way: f"{ratios[way]:.2f}" if way in ratios else ""  # noqa: E731
    for name in chips[0]:
        cells = [cell(each[name]["ratios"], way) for each in chips for way in ("bf16 / textbook", "bf16 / fp32")]
        assert f"| `{name}` | {' | '.join(cells)} |" in section("Speed")
    told = " ".join(section("Speed").split())
    fids = [card(f"digits-quickstart-{seed}")["values"]["fid"] for seed in range(3)]
    assert f"for any choice: {fmean(fids):.1f} ± {stdev(fids):.1f}, mean" in told
    assert f"has {card('digits-textbook')['values']['fid']:.1f} after as long" in told


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
