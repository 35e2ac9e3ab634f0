"""Reports: one table of many runs with curves and samples, as Markdown, LaTeX, CSV and HTML.

gancli report outputs/sweep/model+seed-1a2b3c
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from gancli import config
from gancli.errors import UsageError, did_you_mean
from gancli.files import replacing
from gancli.folders import outputs
from gancli.training.guard import writing
from gancli.verbs.report import runs, words
from gancli.verbs.report.runs import Run
from gancli.verbs.report.table import Better, build


def report(cfg: Any) -> dict[str, float]:
    """Write the report of ``cfg.runs`` into ``cfg.out`` and print its table; torch is imported after all checks.

    Raises:
        UsageError: no runs, an unknown value, or evaluations with different protocols.
    """
    found = runs.read_all(cfg.runs)
    table = build(
        found, split=cfg.split, best=cfg.best, keys=cfg.metrics, only=runs.flatten(config.plain(cfg.only)),
        mixed=cfg.protocols == "mixed", better=lambda: _better(cfg.best, found),
        score=lambda *more: words.scoring(cfg.runs, cfg.split, *more),
    )  # fmt: skip
    out = Path(cfg.out).expanduser() if cfg.out else _out(cfg.runs)
    from gancli.verbs.report import curves, numbers, page, sheet, text  # imported late, as they import matplotlib
    from gancli.views import figures

    warnings = words.warnings(table, found)
    scores, losses = curves.scores(table), curves.losses(table)
    markdown, commands = text.markdown(table, warnings), words.commands(table, cfg.runs)
    files = {
        "report.html": page.html(table, scores, losses, warnings, commands),
        "table.md": markdown,
        "table.tex": text.latex(table),
        "table.csv": numbers.rows(table),
        "runs.csv": numbers.runs(table),
    }
    with writing(out):
        for name, content in files.items():
            with replacing(out / name) as temporary:
                temporary.write_text(content, encoding="utf-8")
        for key, figure in scores.items():
            curves.pdf(figure, out / f"{key}.pdf")
        drawn = sheet.samples(table)
        if drawn:
            figures.save(drawn, out / "samples.png")
    print(markdown)
    if commands:
        print(words.SCORE, "", *commands, "", sep="\n")
    names = ", ".join([*files, *(["samples.png"] if drawn else [])])
    print(f"{len(found)} run{'s' * (len(found) > 1)} -> {out}/{names}")
    return {"runs": len(found)}


def _better(best: str | None, found: Sequence[Run]) -> Better:
    """Return by value whether higher is better; for scores that are not gancli's own, the score cards say so."""
    from gancli.metrics.registry import METRICS  # imported late, as these import torch
    from gancli.metrics.scoring.base import known_better

    known: dict[str, bool | None] = {
        key: higher for run in found for card in run.cards for key, higher in card.better.items()
    }
    known |= known_better()
    known |= {key: higher for metric in METRICS.values() for key, higher in metric.values.items()}
    if best and known.get(best) is None:
        allowed = [key for key, higher in known.items() if higher is not None]
        raise UsageError(
            f"best={best}: neither higher nor lower is better{did_you_mean(best, allowed)} "
            f"(allowed: {', '.join(allowed)})"
        )
    return known


def _out(named: Any) -> Path:
    """Return ``report/`` inside the given folder if there is only one, else a new folder in ``outputs/report/``."""
    single = named if isinstance(named, str) else named[0] if len(named) == 1 else ""
    folder = Path(single).expanduser()
    if single and folder.is_dir():
        return folder / "report"
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
    return outputs() / "report" / stamp
