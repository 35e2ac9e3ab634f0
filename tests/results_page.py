"""The page of results, outputs/results/README.md, and what eval, complete and report wrote, for the tests of both."""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "outputs" / "results"
BENCHMARKS = ROOT / "tests" / "benchmarks" / "results"
PAGE = (RESULTS / "README.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def card(name: str) -> dict:
    return json.loads((RESULTS / "eval" / f"{name}.json").read_text(encoding="utf-8"))


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
