"""The table at full precision as CSV, for other programs: one line per row, and one line per run."""

import csv
import io
from collections.abc import Sequence
from functools import partial

from gancli.verbs.report.runs import Run
from gancli.verbs.report.table import BEST_SEED, Table
from gancli.verbs.report.text import cost


def rows(table: Table) -> str:
    """Return a CSV with one line per row; mean, standard deviation and number of seeds have columns of their own."""
    lines = []
    for row in table.rows:
        line: dict[str, object] = dict(zip(table.columns, row.labels)) | {"seeds": len(row.runs)}
        for key in table.keys:
            for kind in table.kinds:
                score = row.score(key, kind, table.better)
                stem = f"{key}_{kind.replace(' ', '_')}"
                line[stem if kind == BEST_SEED else f"{stem}_mean"] = score.mean if score else ""
                if kind != BEST_SEED:
                    line[f"{stem}_std"] = score.std if score and score.std is not None else ""
                    line[f"{stem}_n"] = score.n if score else 0
            line[f"{key}_floor"] = found[0] if (found := row.floor(key)) else ""
        line |= {
            key: loss.mean if (loss := row.over_seeds(partial(Run.newest, key=key))) else "" for key in table.losses
        }
        seconds, images = (row.over_seeds(fact) for fact in (lambda run: run.seconds, lambda run: run.images))
        line |= {"images": round(images.mean) if images else "", "seconds": round(seconds.mean, 1) if seconds else ""}
        lines.append(line | {"device": cost(row)[2]})
    return _csv(lines)


def runs(table: Table) -> str:
    """Return a CSV with one line per run: its values at the last and at the best checkpoint, before any averaging."""
    lines = []
    for row in table.rows:
        for each in row.runs:
            run, choice = each.run, each.choice
            line: dict[str, object] = dict(zip(table.columns, row.labels)) | {"seed": run.seed, "state": run.state}
            line |= {"images": run.images, "seconds": "" if run.seconds is None else round(run.seconds, 1)}
            line |= {"device": run.device or "", "best_by": choice.key if choice else ""}
            line |= {"best_images": choice.images if choice else "", "best_validation": choice.value if choice else ""}
            line |= {f"{key}_last": each.last.values.get(key, "") if each.last else "" for key in table.keys}
            line |= {f"{key}_best": each.best.values.get(key, "") if each.best else "" for key in table.keys}
            lines.append(line | {"folder": str(run.folder)})
    return _csv(lines)


def _csv(lines: Sequence[dict[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()
