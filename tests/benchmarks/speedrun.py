"""Quality per minute: every GAN at the same budgets of time, scored by the same features against the test split.

    make speedrun                                                     # all of it: many hours
    python tests/benchmarks/speedrun.py --minutes 2 --seeds 1 --only best dcgan textbook --data mnist
    python tests/benchmarks/speedrun.py --table                       # the table and the figure of what is there

A budget is wall-clock time of training alone on a machine that does nothing else. How many images a recipe sees in it
is measured first, in turns (--rates), and kept; the runs themselves see so many images, and so may share the machine.
Every result is a file of its own in --out: what is there is not run again. No recipe is tuned on the test split.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.ticker import FixedLocator, NullLocator

import gancli
from gancli.config import compose
from gancli.training.build import build
from gancli.training.tracker import Tracker
from gancli.training.turn import run_turn
from gancli.verbs.bench import textbook
from gancli.verbs.bench.timing import interleaved
from gancli.views import figures

SMALL = "model.width=32"
RECIPES: dict[str, list[str]] = {
    "best": ["experiment=best_mnist"],
    "best-conditional": ["experiment=best_mnist_classes"],
    "dcgan": ["model=dcgan"],
    "dcgan-32": ["model=dcgan", SMALL],
    "mlp_gan": ["model=mlp_gan"],
    "wgan": ["model=wgan", SMALL],
    "wgan_gp": ["model=wgan_gp", SMALL],
    "sngan": ["model=sngan", SMALL],
    "cgan": ["model=cgan"],
    "cdcgan": ["model=cdcgan", SMALL],
    "acgan": ["model=acgan", SMALL],
    "projection": ["model=projection", SMALL, "model.discriminator_width=32"],
    **{name: [f"model={name}"] for name in ("lapgan", "progan", "stylegan", "stylegan2", "biggan", "r3gan")},
}
PHOTOGRAPHS = {"best-colour": ["experiment=best_cifar10"]}  # which are mirrored, and so no digits
TEXTBOOK = {"textbook-0-workers": 0, "textbook-2-workers": 2}
Facts = dict[str, dict[str, float]]  # of recipes, after a budget: images, mean scores of the seeds and their spread
METRICS = ["fid", "precision_recall"]
ROUNDS, SECONDS = 5, 3.0
SHOWN = 14  # samples of a recipe in the picture
PARTS = 10  # of a run of a model that grows, each as fast as its stage


def overrides(name: str, told: Any) -> list[str]:
    """Return the settings of a recipe on the data of this benchmark."""
    return [*(RECIPES | PHOTOGRAPHS)[name], f"data={told.data}", *told.settings]


def rates(names: list[str], told: Any) -> dict[str, float]:
    """Return the images/s of each recipe, the median of rounds in turns; of one that grows, over the whole run."""
    folder, steps = told.out / "machine", {}
    for name in names:
        steps |= {(name, 0): _textbook_step(name, told)} if name in TEXTBOOK else _steps(name, told, folder)
    for step in steps.values():
        for _ in range(3):
            step()
    found = interleaved(steps, rounds=ROUNDS, seconds=SECONDS, wait=lambda: None)  # every step ends with a tick
    medians = {key: statistics.median(each) for key, each in found.items()}
    # Equal shares of the images, each at the speed of its stage: their harmonic mean.
    return {name: statistics.harmonic_mean([v for (of, _), v in medians.items() if of == name]) for name in names}


def _steps(name: str, told: Any, folder: Path) -> dict[tuple[str, int], Callable[[], int]]:
    """Return steps in the middle of equal parts of a run: one, or as many as it takes to see how a model grows."""
    composed = compose("train", [*overrides(name, told), "images=100M"])
    model = build(composed).model
    parts = PARTS if model.stage(0.0) != model.stage(1.0) else 1
    return {(name, part): _step(composed, (part + 0.5) / parts, folder / f"{name}-{part}") for part in range(parts)}


def _step(composed: Any, share: float, folder: Path) -> Callable[[], int]:
    run, tracker = build(composed), Tracker(folder)
    run.images = round(share * run.total)

    def step() -> int:
        before = run.images
        run_turn(run, tracker, measure=False)
        tracker.tick(run.images)
        return run.images - before

    return step


def _textbook_step(name: str, told: Any) -> Callable[[], int]:
    training, seen = textbook.train(pixels(told), TEXTBOOK[name]), 0

    def step() -> int:
        nonlocal seen
        before, (_, seen) = seen, next(training)
        return seen - before

    return step


def pixels(told: Any) -> np.ndarray:
    """Return the training pictures, (N, C, H, W) uint8."""
    run = build(compose("train", ["model=dcgan", f"data={told.data}", *told.settings]))
    return np.array(run.source.split("train").pixels)


def command(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "gancli", *words], check=True, stdout=sys.stderr)


def one(name: str, images: int, seed: int, folder: Path, told: Any) -> None:
    """Train a recipe on so many images, score it and keep the scores in the folder's ``score.json``."""
    scored = ["n=10k", f"metrics=[{','.join(METRICS)}]", "floor=false", "features=classifier"]
    if name in TEXTBOOK:
        source = pixels(told)  # which sets the seed of a run
        torch.manual_seed(seed)
        generator, _ = next(each for each in textbook.train(source, TEXTBOOK[name]) if each[1] >= images)
        np.savez(
            folder / "samples.npz", images=textbook.draw(generator, 10_000, source.shape[-1]).transpose(0, 2, 3, 1)
        )
        given = [f"images={folder}/samples.npz", f"data={told.data}", "bootstrap=0", *told.settings]
        _keep(folder, gancli.evaluate([*given, *scored]))
        return
    quiet = ["samples.every=0", "checkpoint.every=100M", "doctor.every=0", "eval.every=0", "checkpoint.keep=1"]
    begun = folder / "run"
    if not _done(begun):  # a short run that was stopped begins again
        shutil.rmtree(begun, ignore_errors=True)
        command("train", *overrides(name, told), f"images={images}", f"seed={seed}", *quiet, f"hydra.run.dir={begun}")
    _keep(folder, gancli.evaluate([f"ckpt={begun}", *scored]))
    command("sample", f"ckpt={begun}", "n=80", "format=grid", f"out={folder}/grid")


def _done(run: Path) -> bool:
    status = run / "status.json"
    return status.is_file() and json.loads(status.read_text())["state"] == "done"


def _keep(folder: Path, values: dict[str, float]) -> None:
    (folder / "score.json").write_text(json.dumps({"values": values}, indent=1))


def rows(told: Any) -> dict[str, dict[float, list[dict[str, float]]]]:
    """Return the values of the results that are there, by recipe and minutes."""
    found: dict[str, dict[float, list[dict[str, float]]]] = {}
    for path in sorted(told.out.glob("*/*min/seed*/score.json")):
        minutes, name = float(path.parts[-3].removesuffix("min")), path.parts[-4]
        found.setdefault(name, {}).setdefault(minutes, []).append(json.loads(path.read_text())["values"])
    return found


def table(found: dict[float, Facts]) -> str:
    """Return the Markdown table of all results: mean ± standard deviation of the seeds."""
    lines = ["| recipe | images/s | " + " | ".join(f"{m:g} min: FID, precision, recall" for m in found) + " |"]
    lines.append("|---|---|" + "---|" * len(found))
    for name in _ranked(found):
        cells = [_cell(facts[name]) if name in facts else "-" for facts in found.values()]
        lines.append(f"| {name} | {_last(found, name)['images_per_s']:,.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _ranked(found: dict[float, Facts]) -> list[str]:
    """Return the recipes, the best after its longest budget first."""
    return sorted({name for facts in found.values() for name in facts}, key=lambda name: _last(found, name)["fid"])


def _last(found: dict[float, Facts], name: str) -> dict[str, float]:
    """Return what is known of a recipe after its longest budget."""
    return [facts[name] for facts in found.values() if name in facts][-1]


def _mean(values: list[dict[str, float]], key: str) -> float:
    return statistics.fmean(each[key] for each in values)


def _cell(values: dict[str, float]) -> str:
    spread = f" ± {values['fid_sd']:.2f}" if values["seeds"] > 1 else ""
    return f"{values['fid']:.2f}{spread}, {values['precision']:.2f}, {values['recall']:.2f}"


def figure(found: dict[float, Facts], told: Any) -> None:
    """Draw FID against minutes, a line per recipe with several budgets, with the spread of the seeds."""
    drawn, axes = figures.panels(size=(7, 4.5))
    lines = {name: [facts[name] for facts in found.values() if name in facts] for name in _ranked(found)}
    shown = [name for name, points in lines.items() if len(points) > 1 or len(found) == 1]
    for i, name in enumerate(reversed(shown)):  # in the order of the lines' ends
        minutes, means, spread = ([each[key] for each in lines[name]] for key in ("minutes", "fid", "fid_sd"))
        style = {"color": figures.COLOURS[i % 8], "linestyle": ("-", "--", ":")[i // 8 % 3]}
        axes[0, 0].errorbar(minutes, means, yerr=spread, marker="o", capsize=3, label=name, **style)
    axes[0, 0].set(xscale="log", yscale="log")
    title, across, upwards = f"{told.title}: quality against time", "minutes of training", "FID, classifier features"
    figures.label(axes[0, 0], title, across, upwards, legend=False)
    drawn.legend(loc="outside right upper", fontsize=8, frameon=False)
    ticks = axes[0, 0].xaxis
    ticks.set_major_locator(FixedLocator(list(found)))
    ticks.set_major_formatter("{x:g}")
    ticks.set_minor_locator(NullLocator())
    figures.save(drawn, told.out / "speedrun.png")


def samples(told: Any) -> None:
    """Draw the first samples of the first seed of every recipe that has the longest budget, the best recipe on top."""
    found, shown = rows(told), []
    longest = max(max(values) for values in found.values())
    fids = {name: _mean(values[longest], "fid") for name, values in found.items() if longest in values}
    for name, fid in sorted(fids.items(), key=lambda item: item[1]):
        folder = told.out / name / f"{longest:g}min" / "seed0"
        if name in TEXTBOOK:
            images = np.load(folder / "samples.npz")["images"][:SHOWN]
        else:
            images = gancli.load(folder / "run").sample(SHOWN, seed=0).permute(0, 2, 3, 1).numpy()
        shown.append((f"{name.removesuffix('-workers')}, {fid:.1f}", np.concatenate(list(images), 1)))
    drawn, axes = figures.panels(len(shown), size=(6, 0.42))
    for axis, (title, strip) in zip(axes[:, 0], shown, strict=True):
        axis.imshow(strip.squeeze(), cmap="gray", vmin=0, vmax=255)
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.set_ylabel(title, rotation=0, ha="right", va="center", fontsize=7)
    drawn.suptitle(f"{told.title}: after {longest:g} minutes of training, and FID of classifier features", fontsize=9)
    figures.save(drawn, told.out / "samples.png")


def facts(told: Any) -> dict[float, Facts]:
    """Return what is known of each budget: of the runs that are there, or else what an earlier call has written."""
    speed, found = _kept(told), {}
    for path in told.out.glob("facts-*min.json"):
        found[float(path.stem.removeprefix("facts-").removesuffix("min"))] = json.loads(path.read_text())
    for name, budgets in rows(told).items():
        for minutes, values in budgets.items():
            fids = [each["fid"] for each in values]
            known = {"images_per_s": speed[name], "images": round(speed[name] * 60 * minutes), "minutes": minutes}
            known |= {key: _mean(values, key) for key in values[0]}
            known |= {"seeds": len(values), "fid_sd": statistics.stdev(fids) if len(fids) > 1 else 0.0}
            found.setdefault(minutes, {})[name] = known
    for minutes, each in found.items():
        (told.out / f"facts-{minutes:g}min.json").write_text(json.dumps(each, indent=1))
    return dict(sorted(found.items()))


def _kept(told: Any) -> dict[str, float]:
    path = told.out / "rates.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--title", help="of the figures: what the data is; default: --data")
    parser.add_argument("--minutes", type=float, nargs="+", default=[2, 10, 30])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[*RECIPES, *TEXTBOOK], help="recipes by name")
    parser.add_argument("--out", type=Path, help="folder of the results; default: outputs/speedrun/<data>")
    parser.add_argument("--rates", action="store_true", help="measure the speeds and stop; the machine must be idle")
    parser.add_argument("--table", action="store_true", help="print the table, draw the figure and stop")
    parser.add_argument("settings", nargs="*", help="further settings of all runs, such as data.root=...")
    told = parser.parse_args()
    told.title = told.title or told.data
    told.out = (told.out or Path("outputs/speedrun") / told.data).resolve()
    told.out.mkdir(parents=True, exist_ok=True)
    if not told.table:
        missing = [name for name in told.only if name not in _kept(told)]
        if missing:
            (told.out / "rates.json").write_text(json.dumps(_kept(told) | rates(missing, told), indent=1))
        if told.rates:
            print(json.dumps(_kept(told), indent=1))
            return
        for minutes in told.minutes:
            for seed in range(told.seeds):
                for name in told.only:
                    folder = told.out / name / f"{minutes:g}min" / f"seed{seed}"
                    if not (folder / "score.json").is_file():
                        folder.mkdir(parents=True, exist_ok=True)
                        one(name, round(_kept(told)[name] * 60 * minutes), seed, folder, told)
    print(table(found := facts(told)))
    figure(found, told)
    if rows(told):
        samples(told)


if __name__ == "__main__":
    main()
