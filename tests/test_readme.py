"""Every gancli command of the README and its pages runs, on small stand-ins for the data, and all they name exists."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pictures import write_mnist

from gancli.config import conf_dir
from gancli.verbs.bench.work import BYTES, SIDES

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "tests" / "README.md", *(ROOT / "gancli" / name / "README.md" for name in (
    "losses", "models", "data", "metrics", "lectures", "training/doctor",
))]  # fmt: skip
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
EVERYTHING = "\n".join(TEXTS.values())
SMOKE = {  # appended: the last value of a key wins
    "train": ["images=16", "batch_size=8", "samples.n=4", "eval.n=12", "runtime=cpu", "features.epochs=1"],
    "eval": ["n=12", "batch_size=8", "runtime=cpu"],
    "complete": ["n=2", "batch_size=8", "runtime=cpu"],
    "sample": ["n=20", "batch_size=8", "runtime=cpu"],
    "project": ["steps=3", "runtime=cpu"],
    "encode": ["runtime=cpu"],
    "report": [],
    "doctor": [],
    "bench": ["seconds=0.001", "batch_size=8", "runtime=cpu"],
    "tune": [
        "trials=1",
        "evaluations=1",
        "images=16",
        "batch_size=8",
        "samples.n=4",
        "data.validation=16",
        "runtime=cpu",
    ],
    "help": [],
}


SMALLER = {  # a word of a command -> what it takes besides
    "data=digits": ["features.epochs=1"],
    "data=folder": ["model.width=8"],
    "experiment=red2blue": ["data.a.n=120", "data.a.n_test=40", "data.b.n=120", "data.b.n_test=40"],
    "features=classifier": ["features.epochs=1"],
    "experiment=objectives": ["model.width=4"],
    "space=gan_lr": ["features.epochs=1"],
    "experiment=best_mnist": ["model.width=8"],
    "experiment=best_mnist_classes": ["model.width=4", "model.hidden=16"],
    "experiment=best_vqvae": ["model.width=8", "model.prior.width=8"],
    "experiment=best_stacked_mnist": ["model.width=4", "eval.every=0", "data.n=64", "data.n_test=64"],
    "model=biggan": ["model.width=8", "model.discriminator_width=8"],
    "model=cdcgan": ["model.width=8"],
    "model=dcgan": ["model.width=8"],
    "model=gated_pixelcnn": ["model.blocks=2", "model.width=8"],
    "model=pixelcnn": ["model.blocks=2", "model.width=8", "samples.n=1"],
    "model=vae_conv": ["model.width=4"],
    "model=hvae": ["model.width=4", "model.inner=4"],
    "model=dvae": ["model.width=8", "model.prior.width=8"],
    "model=vqvae2": ["model.width=8", "model.prior.width=8"],
    "model=vqvae": ["model.width=8", "model.prior.width=8"],
    "model=vqgan": ["model.width=8", "model.prior.width=8", "model.discriminator_width=4"],
    "model=vae_gan": ["model.width=4"],
    "seed=1,2,3": ["seed=1"],  # a sweep of two models is one, too
}


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """Return the gancli command lines of a page's shell blocks, comments removed."""
    lines = [shlex.split(line, comments=True) for block in blocks("bash", text) for line in block.splitlines()]
    return [words for words in lines if words[:1] == ["gancli"]]


def smoke(words: list[str]) -> list[str]:
    """Return what makes a command of the README small."""
    if "--cfg" in words:
        return []
    if "resume=latest" in words:
        return ["images=32"]
    extra = [*SMOKE[words[0]], *(more for word in words for more in SMALLER.get(word, []))]
    whole = ("source=", "view=reconstruction", "view=codes")  # all of them, or those there are
    if any(word.startswith(whole) for word in words):
        extra = [each for each in extra if not each.startswith("n=")]
    if {"data=folder", "model=toy_gan"} & set(words):
        return [word for word in extra if not word.startswith("features.")]
    return extra


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home folder with MNIST-shaped files and some faces."""
    import numpy as np
    from PIL import Image

    home = tmp_path_factory.mktemp("home")
    for folder in ("MNIST", "FashionMNIST"):
        write_mnist(home / "data", folder)
    (home / "digits").mkdir()
    Image.new("L", (28, 28), 99).save(home / "digits" / "grey.png")
    (home / "faces").mkdir()
    for i in range(30):
        Image.fromarray(np.random.RandomState(i).randint(0, 256, (70, 80, 3), dtype=np.uint8)).save(
            home / "faces" / f"{i}.png"
        )
    return home


@pytest.fixture
def typed(home, cli, monkeypatch):
    """Run a command line as its reader would type it, in this process: importing torch is most of a small run."""
    settings = {
        "HOME": home, "GANCLI_DATA": home / "data", "GANCLI_CACHE": home / "cache",
        "GANCLI_INCEPTION": home / "none.pth",
    }  # fmt: skip
    for key, value in settings.items():
        monkeypatch.setenv(key, str(value))
    monkeypatch.delenv("GANCLI_OUTPUTS", raising=False)
    monkeypatch.setattr("gancli.models.biggan.STANDING", (2, 8, 0))  # test_biggan.py has all 16 batches
    monkeypatch.setitem(SIDES, "cpu", 16)  # what bench multiplies, and what it copies
    monkeypatch.setitem(BYTES, "cpu", 1024)

    def run(folder: Path, words: list[str], extra: list[str]) -> None:
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        words = [
            re.sub("^~|=~", lambda m: m.group().replace("~", str(home)), word) for word in words
        ]  # as a shell does
        answer = cli(*words, *extra)
        assert answer.code == 0, f"{shlex.join(words)}\n{answer.out[-2000:]}\n{answer.err[-2000:]}"

    return run


def test_every_command_of_the_tour_runs(home, typed):
    """In order, in one folder; the page of metrics reports the tour's sweep."""
    tour = commands(README)
    assert len(tour) >= 10
    for _, *words in (*tour, *commands(TEXTS[ROOT / "gancli" / "metrics" / "README.md"])):
        typed(home / "work", words, smoke(words))
    assert len(list((home / "work" / "samples").glob("0*.png"))) == 20
    assert (home / "work" / "walk" / "grid.png").is_file()
    assert "data:image/png" in (home / "work" / "paper" / "report.html").read_text()


@pytest.mark.parametrize("page", ["losses", "models", "training/doctor"])
def test_every_command_of_a_page_runs(page, home, typed):
    """In order, in a folder of the page's own; typed() asserts that each ends well."""
    lines, folder = commands(TEXTS[ROOT / "gancli" / page / "README.md"]), home / page.replace("/", "-")
    for _, *words in lines:
        typed(folder, words, smoke(words))
    trained = [words for _, *words in lines if words[0] == "train"]
    assert trained and len(list(folder.glob("outputs/**/status.json"))) >= len(trained)


def test_pages_without_commands_are_known():
    """Every other page is run by the test above or by that of the tour."""
    silent = [page.parent.name for page, text in TEXTS.items() if not commands(text)]
    assert silent == ["tests", "data", "lectures"]


def test_make_train_runs_its_commands(home, typed):
    """The lines that `make train` would execute once .venv is there, with fewer images."""
    plan = subprocess.run(["make", "-n", "train"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = [shlex.split(line)[1:] for line in plan.splitlines() if "/gancli " in line.split("#")[0]]
    assert [words[0] for words in lines] == ["train", "eval"]
    for words in lines:
        typed(home / "make", words, smoke(words))
    (result,) = (home / "make").glob("outputs/digits-dcgan/*/eval/*-classifier.json")
    assert json.loads(result.read_text())["values"]["fid"] > 0


def test_the_model_example_runs_as_it_stands(home, cli):
    """The README's file and yaml, taken as a user's own package outside of gancli."""
    (_, code), (yaml,) = blocks("python"), blocks("yaml")
    Path("mypackage").mkdir()
    Path("mypackage/__init__.py").touch()
    Path("mypackage/tiny.py").write_text(code)
    Path("myconf/model").mkdir(parents=True)
    Path("myconf/model/tiny.yaml").write_text(yaml.replace("gancli.models.tiny", "mypackage.tiny"))
    sys.path.insert(0, str(Path.cwd()))
    for name in [name for name in sys.modules if name.startswith("mypackage")]:  # of another test in this process
        del sys.modules[name]
    try:
        answer = cli(
            "train", "--config-dir", "myconf", "model=tiny", "trust=[mypackage]", "data=digits", *SMOKE["train"]
        )
    finally:
        sys.path.remove(str(Path.cwd()))
    assert answer.code == 0, answer.err


def test_the_library_example_runs_as_it_stands(cli, monkeypatch):
    """Five lines after the import; smaller numbers are added to each list of settings."""
    import gancli

    def smaller(verb, function):
        return lambda overrides: function([*overrides, *SMOKE[verb]])

    monkeypatch.setattr(gancli, "train", smaller("train", gancli.train), raising=False)
    monkeypatch.setattr(gancli, "evaluate", smaller("eval", gancli.evaluate), raising=False)
    code, found = blocks("python")[0], {}
    assert len(code.partition("\n\n")[2].strip().splitlines()) == 5
    exec(code, found)
    assert found["images"].shape == (64, 1, 8, 8) and found["scores"]["fid"] > 0 and found["curves"][0]


def test_the_worked_example_of_contributing_runs(cli):
    """Its file, its yaml and its command."""
    text = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (code,), (yaml,), ((_, *words),) = blocks("python", text), blocks("yaml", text), commands(text)
    Path("mypackage").mkdir()
    Path("mypackage/__init__.py").touch()
    Path("mypackage/warm.py").write_text(code)
    Path("myconf/loss").mkdir(parents=True)
    Path("myconf/loss/warm.yaml").write_text(yaml)
    sys.path.insert(0, str(Path.cwd()))
    before = {name for name in sys.modules if name.startswith("mypackage")}
    for name in before:
        del sys.modules[name]
    try:
        answer = cli(*words, *SMOKE["train"])
        wrong = cli(*words, *SMOKE["train"], "loss.temperature=-1")
    finally:
        sys.path.remove(str(Path.cwd()))
    assert answer.code == 0, answer.err
    assert wrong.code == 2 and "temperature=-1" in wrong.err


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", EVERYTHING, re.MULTILINE))
    assert {"test", "train", "bench"} <= named and all(
        re.search(rf"^{target}:", makefile, re.MULTILINE) for target in named
    )


def test_links_and_pictures_lead_to_files():
    for page, text in TEXTS.items():
        targets = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
        missing = [each for each in targets if "://" not in each and not (page.parent / each).exists()]
        assert missing == [], page


def test_files_that_texts_name_are_there():
    """In pages, comments and docstrings, from the root or, as ``nn/attention.py``, from the package."""
    rooms = "|".join(path.name for path in (ROOT / "gancli").iterdir() if path.is_dir())
    named = re.compile(rf"(?<![\w./])(?:gancli|tests|conf|{rooms})/(?:\w+/)*\w+\.(?:py|md|yaml)")
    own = {"gancli/models/tiny.py", "conf/model/tiny.yaml", "conf/local/default.yaml"}  # the reader's
    texts = [path for room in ("gancli", "conf", ".github", "outputs/results") for path in (ROOT / room).rglob("*.*")]
    texts = [path for path in texts if path.suffix in (".py", ".md", ".yaml")]
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (*texts, *PAGES)
        for name in {*named.findall(path.read_text(encoding="utf-8"))} - own
        if not any((base / name).exists() for base in (ROOT, ROOT / "gancli", path.parent))
    }
    assert len(texts) > 300 and missing == set()


def test_the_page_of_the_tests_names_its_files():
    here = [path for path in (ROOT / "tests").iterdir() if path.suffix == ".py"]
    page = TEXTS[ROOT / "tests" / "README.md"]
    assert here and [path.name for path in here if f"`{path.name}`" not in page] == []


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 200


def test_pages_name_every_option_and_no_other():
    for group in ("model", "data", "loss", "optimizer", "schedule", "features"):
        for name in re.findall(rf"\b{group}=([a-z_0-9,]+)", EVERYTHING):
            for option in name.split(","):
                assert option == "tiny" or (conf_dir() / group / f"{option}.yaml").is_file(), f"{group}={option}"
    for group in ("model", "data", "loss", "penalty", "stabilizer", "optimizer", "schedule"):
        for path in (conf_dir() / group).glob("*.yaml"):
            assert re.search(rf"\b{path.stem}\b", EVERYTHING), f"{group}={path.stem} is on no page"
    for path in (conf_dir() / "experiment" / "lecture").glob("*.yaml"):
        assert f"| `{path.stem}` |" in EVERYTHING, f"experiment=lecture/{path.stem} is on no page"
