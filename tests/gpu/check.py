"""Eight minutes on a GPU that is lent: what works there, what fails, and how fast it is, in one JSON file.

    make gpu-check                                         # or on a machine without a venv:
    python3 tests/gpu/check.py --mnist DIR --cifar DIR     # trains on them with what is left of the time
    python3 tests/gpu/check.py --device cpu --quick        # the same stages on a CPU, to try the script itself

Every stage is a process of its own with a deadline, forked from one that has imported torch, so that a stage that
hangs, or breaks its CUDA context, costs no more than its time. What a stage measures is written as soon as it is known,
and the whole after every stage: tests/benchmarks/results/<gpu>.json, or the folder --out. Speeds are medians over
interleaved rounds, with all rounds beside them.

A bare machine needs torch, torchvision, numpy, pillow, scikit-learn, rich, tensorboard, matplotlib and pytest; pure
Python wheels of all else are taken from --wheels, and made where there is a registry:

    pip wheel --no-deps -w tests/gpu/wheels hydra-core omegaconf antlr4-python3-runtime==4.9.3 pytorch-fid
"""

import argparse
import json
import multiprocessing
import os
import re
import sys
import tempfile
import time
import traceback
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DEADLINES = {  # seconds of each stage; the training has what is left
    "environment": 45, "tests": 75, "waits": 60, "graphs": 45, "speed": 110, "compile": 90, "samplers": 50,
    "evaluation": 50, "trace": 30, "training": 120,
}  # fmt: skip
LEAST = 20  # seconds that a stage needs; with less left it is not begun


def prepare(wheels: Path) -> None:
    """Make gancli and the helpers of the tests importable, and the packages that lie in wheels."""
    aside = Path(tempfile.mkdtemp(prefix="gancli-wheels-"))
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(aside)
    folders = [ROOT, ROOT / "tests", ROOT / "tests" / "benchmarks", ROOT / "tests" / "gpu"]
    sys.path[:0] = [str(each) for each in folders]
    sys.path.append(str(aside))  # last: what is installed goes first
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", ""), str(aside)])


def measure(name: str, told: argparse.Namespace, into: Path) -> None:
    """Run a stage, in its own process, and write its values after each."""
    import stages

    found: dict[str, Any] = {"values": {}}
    os.setsid()  # its own children end with it
    try:
        for key, value in stages.STAGES[name](told):
            found["values"][key] = value
            _write(into, found)
        found["done"] = True
    except BaseException as error:
        found["failed"] = f"{type(error).__name__}: {error}"
        found["where"] = traceback.format_exc().splitlines()[-8:]
    _write(into, found)


def run(name: str, told: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Return what a stage found, also if it failed or did not end in time."""
    into = told.out / f".{name}.json"
    into.unlink(missing_ok=True)
    child = multiprocessing.get_context("fork").Process(target=measure, args=(name, told, into))
    began = time.monotonic()
    child.start()
    child.join(seconds)
    late = child.is_alive()
    if late:
        try:
            os.killpg(child.pid, 9)
        except ProcessLookupError:  # it has not called setsid() yet
            child.kill()
        child.join()
    found = json.loads(into.read_text()) if into.is_file() else {"values": {}}
    into.unlink(missing_ok=True)
    if late:
        found["failed"] = f"not done after {seconds:.0f} s"
    elif not found.pop("done", False):
        found.setdefault("failed", f"the process ended with {child.exitcode}")
    return found | {"seconds": round(time.monotonic() - began, 1)}


def _write(path: Path, value: Any) -> None:
    aside = path.with_name(path.name + ".tmp")
    aside.write_text(json.dumps(value, indent=1, default=str) + "\n")
    aside.replace(path)


def main(argv: list[str] | None = None) -> int:
    """Run the stages in order and return 1 if one failed, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, which say nothing about speed")
    parser.add_argument("--only", nargs="+", default=[*DEADLINES], choices=[*DEADLINES], metavar="STAGE")
    parser.add_argument("--seconds", type=float, default=480, help="time of all stages together")
    parser.add_argument("--out", type=Path, default=ROOT / "tests" / "benchmarks" / "results")
    parser.add_argument("--wheels", type=Path, default=ROOT / "tests" / "gpu" / "wheels")
    parser.add_argument("--mnist", type=Path, help="data.root of MNIST")
    parser.add_argument("--cifar", type=Path, help="data.root of a folder of JPEGs of 32 pixels")
    told = parser.parse_args(argv)
    told.out = told.out.resolve()
    told.out.mkdir(parents=True, exist_ok=True)
    prepare(told.wheels)
    import stages  # noqa: F401  torch, once for all stages; it must not touch the GPU before they are forked

    began, results, name = time.monotonic(), {}, told.device
    file = told.out / f"{name}.json"
    for stage in told.only:
        left = told.seconds - (time.monotonic() - began)
        if left < min(LEAST, told.seconds / 2):
            results[stage] = {"values": {}, "failed": "no time was left", "seconds": 0}
            continue
        told.left = left if stage == "training" else min(DEADLINES[stage], left)
        results[stage] = run(stage, told, told.left)
        if found := results.get("environment", {}).get("values", {}).get("device"):
            name = re.sub(r"\W+", "-", found).strip("-").lower()
        if file != told.out / f"{name}.json":
            file.unlink(missing_ok=True)
            file = told.out / f"{name}.json"
        _write(file, {"quick": told.quick, "stages": results})
        print(f"{stage}: {results[stage].get('failed', 'done')} ({results[stage]['seconds']} s)", flush=True)
    print(f"-> {file}")
    return int(any("failed" in each for each in results.values()))


if __name__ == "__main__":
    sys.exit(main())
