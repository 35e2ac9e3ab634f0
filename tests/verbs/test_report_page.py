"""The page of a report, with its drawings: it needs no other file, and shows a sweep without scores, too."""

import csv
import re
import shutil
from html.parser import HTMLParser
from typing import Any

import numpy as np
from PIL import Image
from written_runs import reported


class Page(HTMLParser):
    """Tags that are opened and closed, and what is fetched from elsewhere."""

    VOID = {"meta", "img", "path", "use", "rect", "br", "link"}

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.count: dict[str, int] = {}
        self.sources: list[str] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        self.sources += [v for k, v in attributes if k in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: Any) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_needs_no_other_file(sweep) -> None:
    reported(runs=sweep)
    markup = (sweep / "report" / "report.html").read_text()
    page = Page(markup)
    assert page.open == []
    kinds = [source.partition(";base64,")[0] for source in page.sources]
    assert {kind: kinds.count(kind) for kind in kinds} == {"data:image/svg+xml": 3, "data:image/png": 12}
    assert len(set(page.sources)) == 3 + 3  # FID, IS and a loss; a grid per seed
    assert "http" not in re.sub(r"base64,[\w+/=]+", "", markup)
    assert "<b>" in markup and "real images" in markup and "features.weights_sha256" in markup
    assert (sweep / "report" / "fid.pdf").read_bytes().startswith(b"%PDF")
    with Image.open(sweep / "report" / "samples.png") as drawn:
        grey = np.asarray(drawn.convert("RGB"))[..., 0]
    assert (grey == 50).mean() > 0.2 and np.isin(grey, (51, 52)).mean() < 0.01  # the grids of seed 0 alone


def test_the_page_of_a_sweep_without_scores_shows_losses_samples_costs_and_what_scores_it(sweep, cli) -> None:
    for run in sweep.iterdir():
        shutil.rmtree(run / "eval")
    answer = cli("report", str(sweep))
    assert answer.code == 0, answer.err
    assert "| model | loss | seeds | loss/generator | images | seconds | device |" in answer.out
    assert "| 0.333 ± 0.000 | 3k | 30 ± 0 | CPU (test) |" in answer.out
    assert f"\n\ngancli eval {sweep}\n\n" in answer.out and "Not scored on the test split yet" in answer.out
    html = (sweep / "report" / "report.html").read_text()
    assert f"<pre>gancli eval {sweep}</pre>" in html
    assert "<details open><summary>Losses" in html
    assert html.count('alt="samples of') > 3 and 'alt="fid over images"' in html
    assert 'alt="is over images"' in html and "is_std over images" not in html  # a spread is no score
    assert (sweep / "report" / "samples.png").is_file()
    assert {"loss/generator", "images"} <= set(next(csv.reader((sweep / "report" / "table.csv").open())))
    other = cli("report", str(sweep / "00"), f"{sweep}/0[12]", "split=validation", "out=o")  # partly, and elsewhere
    assert f"gancli eval {sweep}/00 '{sweep}/0[12]' split=validation" in other.out
    refused = cli("report", str(sweep), "best=fid")
    assert refused.code == 2 and "which fid needs" in refused.err
