"""What each objective makes of 25 modes in the same time: modes covered, share of high quality, balance.

    python tests/benchmarks/bench_lab.py                           # a taste: 2 CPU seconds each, one seed
    python tests/benchmarks/bench_lab.py --seconds 60 --seeds 5    # the table: 18 x 5 minutes of one core
    python tests/benchmarks/bench_lab.py --data ring8 --only nonsaturating

Everything but the objective, its penalty and, for a clipped critic, its optimizer is that of model=toy_gan: nets,
batch, learning rate and its decay over the run, averaged weights. Scores are PacGAN's, of 2,500 points. The time is
that of the process and of training alone, on one thread; how many updates fit into it is found out by the first ones.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from gancli.config import compose
from gancli.errors import TrainingDiverged
from gancli.models.sampling import draw
from gancli.training.build import build
from gancli.training.tracker import Tracker
from gancli.training.turn import run_turn

ROWS = {
    "nonsaturating + r1 (toy_gan)": [],
    "nonsaturating": ["penalty=[]"],
    "nonsaturating + dragan": ["penalty=dragan"],
    "minimax": ["loss=minimax", "penalty=[]"],
    "lsgan": ["loss=lsgan", "penalty=[]"],
    "hinge": ["loss=hinge", "penalty=[]"],
    "wasserstein, clipped": ["loss=wasserstein", "penalty=weight_clipping", "optimizer=rmsprop", "schedule=constant"],
    "wasserstein + gradient penalty": ["loss=wasserstein", "penalty=points/gradient_penalty"],
    **{f"relativistic, {v}": ["loss=relativistic", f"loss.variant={v}", "penalty=[]"]
       for v in ("rsgan", "rasgan", "ralsgan", "rahinge")},
    **{f"fgan, {d}": ["loss=fgan", f"loss.divergence={d}", "penalty=[]"] for d in ("pearson", "jensen_shannon", "gan")},
    **{f"fgan, {d}, clip 1": ["loss=fgan", f"loss.divergence={d}", "penalty=[]", "clip=1.0"]  # exponential in the score
       for d in ("kl", "reverse_kl", "squared_hellinger")},
}  # fmt: skip
PUBLISHED = (  # Lin et al. 2018, PacGAN, 10 runs of 400 epochs of 100,000 points, other networks
    "published, not this protocol: GAN 17.3 +- 0.8 of 25 modes, 94.8 % of high quality; PacGAN2 23.8 of 25 "
    "(Lin et al. 2018, grid: 400 epochs of 100,000 points)"
)
WARM, MEASURED, TICK = 5, 40, 250  # updates


def one(data: str, overrides: list[str], seconds: float, seed: int) -> dict[str, float] | None:
    """Train for so many seconds of the process and return the scores; None: it diverged."""
    cfg = compose(
        "train", ["model=toy_gan", f"data={data}", f"seed={seed}", "runtime=cpu", *overrides, "batch_size=256"]
    )
    run, tracker = build(cfg), Tracker(Path(tempfile.mkdtemp()))
    for _ in range(WARM):
        run_turn(run, tracker, measure=False)
    start = time.process_time()
    for _ in range(MEASURED):
        run_turn(run, tracker, measure=False)
    each = (time.process_time() - start) / MEASURED
    run.total = round(max(seconds / each, 2 * MEASURED)) * cfg.batch_size * run.batches()
    try:
        while run.images < run.total and time.process_time() - start < seconds:
            run_turn(run, tracker, measure=False)
            if run.turn % TICK == 0:
                tracker.tick(run.images)
        with run.ema.sampling() as model:
            scorer = run.scoring.subjects[0].scorer
            scores = scorer.score(draw(model, scorer.n, seed=seed, batch_size=500)).values
    except TrainingDiverged:
        return None
    finally:
        tracker.close()
    return {**scores, "updates": run.turn}


def cell(values: list[float], digits: int) -> str:
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{spread}" if values else "-"


def truth(data: str, seed: int) -> dict[str, float]:
    """Score as many points of the data itself."""
    run = build(compose("train", ["model=toy_gan", f"data={data}", "runtime=cpu"]))
    scorer = run.scoring.subjects[0].scorer
    points, _ = run.source.draw(scorer.n, torch.Generator().manual_seed(seed))
    return scorer.score([(points, None)]).values


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="grid25", help="ring8, grid25 or gaussians_1d")
    parser.add_argument("--seconds", type=float, default=2.0, help="of the process, per run")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", default="", help="rows that hold this text")
    told = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{told.data}, {told.seconds:g} CPU s, {told.seeds} seeds, torch {torch.__version__}, one thread\n")
    print("| objective | modes | high quality, % | reverse KL | updates | diverged |\n|---|---|---|---|---|---|")
    rows = {name: overrides for name, overrides in ROWS.items() if told.only in name}
    for name, overrides in {**rows, "points of the data itself": None}.items():
        found = []
        for seed in range(told.seeds):
            found.append(truth(told.data, seed) if overrides is None else one(told.data, overrides, told.seconds, seed))
            print(f"{name}, seed {seed}: {found[-1]}", file=sys.stderr, flush=True)
        good = [each for each in found if each]
        keys = (("modes", 1), ("high_quality", 1), ("reverse_kl", 3), ("updates", 0))
        cells = [cell([each[key] for each in good if key in each], digits) for key, digits in keys]
        print(f"| {name} | {' | '.join(cells)} | {len(found) - len(good)} |", flush=True)
    if told.data == "grid25":
        print(f"\n{PUBLISHED}")


if __name__ == "__main__":
    main()
