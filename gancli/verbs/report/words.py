"""Text around a table: names of the values, a caption on how they were measured, and warnings."""

from collections.abc import Sequence
from pathlib import Path

from gancli.errors import command
from gancli.verbs.report import protocols
from gancli.verbs.report.grouping import count
from gancli.verbs.report.runs import VALIDATION, Run
from gancli.verbs.report.table import BEST, BEST_SEED, Table

NAMES = {
    "fid": "FID", "is": "IS", "kid": "KID", "fid_infinity": "FID∞", "auth_pct": "AuthPct, %", "mode_jsd": "mode JSD",
    "parzen": "Parzen, nats", "nats": "NLL, nats", "nll_bound": "NLL bound, nats",
    "elbo": "ELBO, nats", "iwae": "IWAE bound, nats", "iwae_k": "k of IWAE", "kl": "KL, nats",
    "reconstruction": "reconstruction, nats", "bits_per_dim": "bits/dim",
}  # fmt: skip
ARROWS = {True: " ↑", False: " ↓", None: ""}
LISTED = 3  # runs listed per warning


SCORE = "To score what is not scored yet:"


def name(key: str) -> str:
    return NAMES.get(key, key.replace("_", " "))


def title(table: Table, key: str) -> str:
    """Return the name of a value with an arrow in the direction that is better."""
    return name(key) + ARROWS[table.better.get(key)]


def heading(table: Table) -> str:
    runs = {each.run.folder for each in table.runs()}
    chosen = {each.run.choices.get("data") or str(each.run.settings.get("data")) for each in table.runs()}
    own = chosen.pop() if len(chosen) == 1 and not table.keys else "several datasets"
    data = table.protocol.get("dataset", own)
    return f"{len(runs)} run{'s' * (len(runs) > 1)} on {data}"


def caption(table: Table) -> str:
    """Return the caption of the table: what was measured, and how."""
    facts = table.protocol
    if not table.keys:
        return " ".join(
            [f"Not scored on the {table.split} split yet; losses: the last ones.", *_seeds(table), *_cost(table)]
        )
    count = lambda key: f"{facts[key]:,} " if facts.get(key) is not None else ""  # noqa: E731
    measured = (
        f"{count('images_generated')}generated images against {count('images_reference')}real ones of "
        f"{facts.get('dataset', 'the data sets:')} {table.split}; features {facts.get('features.name', '...')}"
    )
    if sha := facts.get("features.weights_sha256"):
        measured += f" (weights {str(sha)[:8]})"
    measured += "".join(f"; {k.partition('.')[2]} {v}" for k, v in facts.items() if k.startswith("sampling."))
    if "ema" in facts:
        measured += f"; {'averaged' if facts['ema'] else 'raw'} weights"
    if "seed" in facts:
        repeats = facts.get("repeats", 1)
        seeds = f"seed {facts['seed']}" if repeats == 1 else f"mean over {repeats} seeds from {facts['seed']} on"
        measured += f"; {seeds}" if table.translated else f"; latents: {seeds}"
    parts = [measured + ".", *_seeds(table), *_choices(table), *_cost(table)]
    if len(protocols.with_labels(card for each in table.runs() for card in each.cards)) > 1:
        parts.append(
            "Conditional models draw classes as frequent as in the split, the others draw without labels: both are "
            "scored as sets of images."
        )
    if len(protocols.with_means(card for each in table.runs() for card in each.cards)) > 1:
        parts.append("Images of latent-variable models are means of their pixels, those of the others are draws.")
    if protocols.DIRECTION in table.apart:
        parts.append("Each direction has its own images and features: do not compare directions with each other.")
    if others := [key for key in table.apart if key != protocols.DIRECTION]:
        parts.append(f"Rows differ in protocol ({', '.join(others)}): do not compare them with each other.")
    return " ".join(parts)


def _seeds(table: Table) -> list[str]:
    if max(len(row.runs) for row in table.rows) == 1:
        return ["One seed each."]
    return ["Mean ± standard deviation (ddof 1) over training seeds."]


def _choices(table: Table) -> list[str]:
    said = ["last: the checkpoint at the end of training."]
    choices = [each.choice for each in table.runs() if each.choice]
    if BEST in table.kinds:
        keys = sorted({each.key for each in choices})
        by = ", ".join(f"{'highest' if table.better[key] else 'lowest'} {name(key)}" for key in keys)
        among = sorted({each.among for each in choices})
        number = f"{among[0]}" if len(among) == 1 else f"{among[0]} to {among[-1]}"
        said.append(f"best: the one of {number} checkpoints with the {by} on the validation split.")
    if BEST_SEED in table.kinds:
        said.append("best seed: the single run with the best validation value, at its best checkpoint.")
    return said


def _cost(table: Table) -> list[str]:
    return ["images: number seen in training; seconds: training time only."]


def warnings(table: Table, runs: Sequence[Run]) -> list[str]:
    """Return one line per problem: missing evaluations, unequal runs, files that could not be read."""
    scored = table.runs()
    kept = {each.run.folder for each in scored}
    split = table.split
    unfinished = [f"{each.run.folder.name} {each.run.state} at {count(each.run.images)} images" for each in scored
                  if each.run.state not in ("done", "unknown")]  # fmt: skip
    repeated = [run.folder.name for run in runs if run.folder not in kept]
    missing = [each.run.folder.name for each in scored if not each.last and table.keys]
    unmeasured = [each.run.folder.name for each in scored if each.choice and not each.best and table.keys]
    elsewhere = [
        each.run.folder.name for each in scored if not each.choice and each.run.curve("eval/" + each.run.eval_best)
    ]
    none = [each.run.folder.name for each in scored if not each.choice and table.keys]
    lengths = [" | ".join(row.labels) for row in table.rows if len({each.run.images for each in row.runs}) > 1]
    lines = [
        _line("not finished", unfinished),
        _line("older runs of a repeated seed, left out", repeated),
        _line(f"the last checkpoint was not evaluated on {split}", missing),
        _line(f"the best checkpoint was not evaluated on {split}", unmeasured),
        _line(f"no best: checkpoints were chosen on a split other than {VALIDATION}", elsewhere),
        _line(
            "no best: not evaluated on the validation split (train with eval.every=...)", none if not elsewhere else []
        ),
        _line("seeds that saw different numbers of images", lengths),
        _line("files that could not be read", [file for run in runs for file in run.damaged]),
    ]
    if len({len(row.runs) for row in table.rows}) > 1:
        lines.append("rows have different numbers of seeds")
    unlike = protocols.noted([card for each in scored for card in each.cards])
    lines += [f"{key} differs between evaluations: {' | '.join(map(str, values))}" for key, values in unlike.items()]
    return [line for line in lines if line]


def commands(table: Table, named: str | Sequence[str]) -> list[str]:
    """Return the commands that score the last and the best checkpoints of the table which have no scores.

    They ask for the protocol of the scores that are there, so that the new ones can stand beside them.

    Args:
        table: the table.
        named: the runs as they were named, which gancli eval takes as well; it skips what is scored already.
    """
    wanted: list[list[str]] = [[]] if any(not each.last for each in table.runs()) else []
    wanted += [["which=best"]] if table.keys and any(each.choice and not each.best for each in table.runs()) else []
    scored = table.runs()
    cards = [card for each in scored for card in each.cards]
    like = protocols.settings(table.protocol, cards, [each.run for each in scored])
    return [scoring(named, table.split, *more, *like) for more in wanted]


def scoring(named: str | Sequence[str], split: str, *more: str) -> str:
    """Return the command that scores runs as they were named on a split."""
    names = [str(each) for each in ([named] if isinstance(named, str) else named) if not Path(str(each)).is_file()]
    names = [f"./{each}" if "=" in each.partition("/")[0] else each for each in names]  # it is no setting
    return command("eval", *names, *([] if split == "test" else [f"split={split}"]), *more)


def _line(what: str, named: Sequence[str]) -> str:
    named = list(dict.fromkeys(named))  # a run has one row per direction
    more = f" and {len(named) - LISTED} more" if len(named) > LISTED else ""
    return f"{what}: {'; '.join(named[:LISTED])}{more}" if named else ""
