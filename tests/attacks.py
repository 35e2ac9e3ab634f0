"""What the fuzz run does to a run, a checkpoint, pictures and command lines: one function for each attack."""

import copy
import io
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from PIL import Image

from gancli.config import from_yaml, to_yaml
from gancli.training import checkpoint

HOSTILE = (
    "os.system", "builtins.eval", "subprocess.Popen", "gancli.data.cache.Writer", "gancli.training.tracker.Tracker",
    "gancli.cli.status.Record", "gancli.config.Path", "torch.hub.load", "torch.nn.Sequential", "torch.optim.Adam",
    "gancli.models.dcgan.DCGAN", "gancli.losses.penalties.R1", "gancli.data.folder.FolderImages", "evil.Net", "", 3,
)  # fmt: skip
ODD = (
    None, True, -1, 0, 3, 2**40, 1e300, float("nan"), float("inf"), "", "x", "${oc.env:HOME}", "???", "../../x", "\x00",
    [], [1], ["x"], {}, {"a": 1}, {"_target_": "os.system"}, "200k", "a\nb", "x" * 300,
)  # fmt: skip


class Try(NamedTuple):
    """What one try may use: its randomness, a copy of a run, and a folder of its own in which it works."""

    at: random.Random
    run: Path
    here: Path


Attack = Callable[[Try], list[str]]  # changes or makes files, and returns a command line


def reading(each: Try, path: Path | None = None) -> list[str]:
    """Return a command that reads a run or a checkpoint."""
    path = path or each.run
    commands = [["sample", f"ckpt={path}", "n=2"], ["train", f"resume={path}", "images=24"]]
    if path.is_dir():
        commands += [["report", str(path)], ["doctor", str(path)]]
    return each.at.choice(commands)


def newest(each: Try) -> Path:
    return checkpoint.numbered(each.run)[-1]


def flip_bits(each: Try) -> list[str]:
    file = newest(each)
    data = bytearray(file.read_bytes())
    for _ in range(each.at.choice((1, 1, 1, 5, 50))):
        data[each.at.randrange(len(data))] ^= 1 << each.at.randrange(8)
    file.write_bytes(data)
    return reading(each, each.at.choice((file, each.run)))


def cut(each: Try) -> list[str]:
    file = newest(each)
    data = file.read_bytes()
    file.write_bytes(data[: each.at.randrange(len(data))])
    return reading(each, each.at.choice((file, each.run)))


def zero_a_block(each: Try) -> list[str]:
    file = newest(each)
    data = bytearray(file.read_bytes())
    start = each.at.randrange(len(data))
    size = min(each.at.choice((16, 512, 4096)), len(data) - start)
    data[start : start + size] = bytes(size)
    file.write_bytes(data)
    return reading(each, each.at.choice((file, each.run)))


def nodes(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the path of everything in nested dicts and lists."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from nodes(inner, (*path, key))


def replaced(values: Any, path: tuple, new: Any) -> Any:
    """Return a deep copy with what is at a path replaced."""
    found = copy.deepcopy(values)
    node = found
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = new
    return found


def saved_config(each: Try, values: Any) -> list[str]:
    """Write a config into the newest checkpoint, or into the run's config.yaml, and read it."""
    text = yaml.safe_dump(values, sort_keys=False)
    if each.at.random() < 0.4:
        (each.run / "config.yaml").write_text(text)
        return reading(each)
    state = {k: v for k, v in checkpoint.load(newest(each)).state.items() if k != "format"}
    checkpoint.save(newest(each), state | {"config": text})
    return reading(each, newest(each))


def config_of(each: Try) -> dict[str, Any]:
    return yaml.safe_load(to_yaml(from_yaml((each.run / "config.yaml").read_text())))


def foreign_target(each: Try) -> list[str]:
    values = config_of(each)
    node = {"_target_": each.at.choice(HOSTILE), "path": str(each.here.parent / "canary"), "mode": "w"}
    return saved_config(each, replaced(values, each.at.choice(list(nodes(values))), node))


def odd_config(each: Try) -> list[str]:
    values = config_of(each)
    for _ in range(each.at.choice((1, 1, 2))):
        values = replaced(values, each.at.choice(list(nodes(values))), each.at.choice(ODD))
    return saved_config(each, values)


def odd_text(each: Try) -> list[str]:
    file = each.run / each.at.choice(("config.yaml", "status.json", "machine.json", "metrics.jsonl"))
    lines = file.read_text().splitlines() if file.is_file() else [""]
    at = each.at.randrange(len(lines))
    new = each.at.choice(
        ("&a [*a]", "x: ${x}", "\x00\x01", "- [", "", "}", "a: !!python/name:os.system", "[" * 500, "3")
    )
    lines[at : at + each.at.choice((0, 1, 5))] = [new]
    file.write_text("\n".join(lines) + "\n")
    return reading(each)


def odd_state(each: Try) -> list[str]:
    state = {k: v for k, v in checkpoint.load(newest(each)).state.items() if k != "format"}
    odd = (*ODD, torch.zeros(3), torch.zeros(2, dtype=torch.complex64), torch.tensor(float("nan")))
    paths = [path for path in nodes(state) if path[0] != "config" and len(path) <= each.at.choice((1, 2, 4))]
    checkpoint.save(newest(each), replaced(state, each.at.choice(paths), each.at.choice(odd)))
    return reading(each, newest(each))


def odd_overrides(each: Try) -> list[str]:
    values = config_of(each)
    words = []
    for _ in range(each.at.choice((1, 1, 3))):
        key = ".".join(map(str, each.at.choice(list(nodes(values)))))
        words.append(f"{each.at.choice(('', '', '+', '~'))}{key}={each.at.choice(ODD)}")
    # A device that is not there ends the command after all checks, or training would begin.
    return ["train", "data=fake", "images=8", *words, "runtime=cuda", f"hydra.run.dir={each.here / 'new'}"]


def picture(each: Try) -> bytes:
    """Return a picture file, damaged or not."""
    out = io.BytesIO()
    mode = each.at.choice(("L", "RGB", "RGBA", "P", "I;16", "1", "LA"))
    size = each.at.choice(((8, 8), (16, 9), (1, 1), (200, 3)))
    Image.new(mode, size).save(out, each.at.choice(("PNG", "PNG", "TIFF")))
    data = bytearray(out.getvalue())
    for _ in range(each.at.choice((0, 1, 3, 20))):
        data[each.at.randrange(len(data))] = each.at.randrange(256)
    return bytes(data[: each.at.choice((len(data), len(data), each.at.randrange(1, len(data))))])


def odd_pictures(each: Try) -> list[str]:
    folder = each.here / "pictures"
    for i in range(each.at.choice((1, 3, 12))):
        part = each.at.choice((".", ".", "a", "b", "train", "test/a", "00000"))
        name = each.at.choice(
            (f"{i}.png", f"{i}.tif", f"{i}.JPEG", f"{i}.eps", f"{i}.npy", f".{i}.png", f"{'x' * 200}{i}.png")
        )
        (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / part / name).write_bytes(picture(each))
    return used(each, folder)


def odd_zip(each: Try) -> list[str]:
    file = each.here / "pictures.zip"
    names = (
        "a.png",
        "../slip.png",
        "/tmp/slip.png",
        "a/../../b.png",
        "d/a.png",
        "a.png/b.png",
        "C:\\x.png",
        "x" * 300 + ".png",
    )
    with zipfile.ZipFile(file, "w", each.at.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for i in range(each.at.choice((1, 4))):
            archive.writestr(each.at.choice((*names, f"{i}.png")), each.at.choice((picture(each), b"\0" * 10**6)))
    data = bytearray(file.read_bytes())
    for _ in range(each.at.choice((0, 0, 2, 30))):
        data[each.at.randrange(len(data))] ^= 1 << each.at.randrange(8)
    file.write_bytes(data)
    return used(each, file)


def odd_npz(each: Try) -> list[str]:
    file = each.here / "pictures.npz"
    kind = each.at.choice(("u1", "f4", "i8", "c8", "S3", "O"))
    shape = each.at.choice(((4, 8, 8, 1), (4, 1, 8, 8), (4, 8, 8), (0, 8, 8, 1), (3,), (), (2, 300, 3, 3)))
    labels = each.at.choice(([0, 1, 2, 3], [-1, 0, 1, 2], [0.5] * 4, [10**9] * 4, [[0]] * 4))
    names = each.at.choice((("arr_0", "labels"), ("images", "label"), ("x", "y"), ("mu", "sigma")))
    np.savez(file, **dict(zip(names, (np.zeros(shape, kind), np.array(labels)))))
    data = bytearray(file.read_bytes())
    for _ in range(each.at.choice((0, 0, 1, 10))):
        data[each.at.randrange(len(data))] ^= 1 << each.at.randrange(8)
    file.write_bytes(data)
    return used(each, file)


def used(each: Try, path: Path) -> list[str]:
    """Return a command that reads pictures."""
    train = [
        "train",
        "data=folder",
        f"data.root={path}",
        "images=8",
        "runtime=cuda",
        f"hydra.run.dir={each.here / 'new'}",
    ]
    evaluate = ["eval", f"images={path}", "data=fake", "metrics=[fid]", f"reference={path}", "features=classifier"]
    source = ["sample", f"ckpt={each.run.parent / 'cyclegan'}", f"source={path}", f"out={each.here / 'out'}"]
    return each.at.choice((train, evaluate, source))


ATTACKS: tuple[Attack, ...] = (
    flip_bits, cut, zero_a_block, foreign_target, odd_config, odd_text, odd_state, odd_overrides, odd_pictures, odd_zip,
    odd_npz,
)  # fmt: skip
