"""Images in tar shards: ``gancli train data=webdataset data.root='~/faces/{0000..0146}.tar' data.size=64``."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gancli.data.file_images import FileImages, Found
from gancli.data.files import Asked, Reader
from gancli.data.keys import typed
from gancli.data.layout import split_of
from gancli.data.shards import AUTO, Label, Shards
from gancli.data.source import SPLITS, folder
from gancli.data.splits import Part, When
from gancli.errors import UsageError
from gancli.files import shown
from gancli.ranges import Bits

_HERE = Asked(layout="")
_WORD = re.compile(r"[A-Za-z]+")


class WebDatasetImages(FileImages):
    """Tar shards as the webdataset library names their members (`shards`), without that library.

    It streams shards through a buffer from which it shuffles, because its shards may lie behind a pipe or a URL. On a
    disk every sample can be reached at once: the headers of all shards are read once into an index of offsets, which is
    kept (`data.listed`), and then a sample is one read at its place. That makes the order an exact permutation of all
    images, by seed and epoch, whatever the number of shards, processes and threads; an epoch has every image once; and
    a run that is resumed, also by another number of processes, goes on with the very next image. None of this holds for
    a buffer. Nothing but the index is in memory: pictures are decoded, cropped and resized when they are used.

    Shards behind a URL have to be downloaded first.

    - `root`: a folder of shards, one of them, or a pattern: ``train-{0000..0146}.tar``, ``train-*.tar``. Of a folder,
      shards whose names begin with a split, or that lie in a folder of that name, are that split: ``val-0001.tar``.
    - `test`, `validation`: a pattern, file or folder of shards; or the fraction or number of images to hold out, which
      is ignored where a folder has shards for it.
    - `label`: "auto": the text of ``.cls``, else ``label`` in ``.json``, if there is one; the name of another key of
      ``.json``; or "none". Whole numbers are classes in their order, words in the order of the alphabet.

    The other arguments are those of `FileImages`.
    """

    def __init__(
        self,
        root: str,
        size: int | None = None,
        channels: int | None = None,
        crop: str | int = "center",
        test: int | float | str = 0.1,
        validation: int | float | str = 0.05,
        label: str = AUTO,
        seed: int = 0,
        on_error: str = "refuse",
        stratify: bool = True,
        bit_depth: Bits | None = None,
        decode: When = "access",
    ) -> None:
        for key, value in (("root", root), ("test", test), ("validation", validation)):
            if value == "" or (isinstance(value, str) and re.match(r"(pipe:|[a-z][a-z0-9+]*://)", value)):
                raise UsageError(f"{typed(key)}={value!r}: name tar shards on a disk; those of a URL, download first")
        own = {name: each for name, each in (("test", test), ("validation", validation)) if isinstance(each, str)}
        super().__init__(
            "webdataset", folder(root), size, channels, crop, 0 if isinstance(test, str) else test,
            0 if isinstance(validation, str) else validation, seed, on_error, stratify, bit_depth, decode,
        )  # fmt: skip
        self.label, self.own = label, {name: folder(path) for name, path in own.items()}

    def _depends(self) -> dict[str, Any]:
        return {"label": self.label, "own": list(self.own)}

    def _readers(self) -> Sequence[Reader]:
        others = [Shards(path, Asked(f"{{node}}.{name}", layout="")) for name, path in self.own.items()]
        return [Shards(self.root, _HERE), *others]

    def _find(self, readers: Sequence[Reader]) -> Found:
        first, *others = (reader for reader in readers if isinstance(reader, Shards))
        shards = _by_split(first.paths()) if first.root.is_dir() else {"train": first.paths()}
        if "train" not in shards:
            raise UsageError(f"{first}: it has shards of {' and '.join(shards)}, and none to train on")
        readings = [(split, first, paths) for split, paths in shards.items() if split not in self.own]
        readings += [(split, reader, reader.paths()) for split, reader in zip(self.own, others)]
        classes: dict[Label, int] = {}
        parts, trained = {}, 0
        for split, reader, paths in sorted(readings, key=lambda each: SPLITS.index(each[0])):
            parts[split] = reader.samples(paths, self.label, classes)
            trained = trained or len(classes)
            if len(classes) > trained:
                raise UsageError(
                    f"{reader}: {split} has a label that train has not: {shown(str(list(classes)[trained]))}"
                )
        if len({bool((part.labels < 0).all()) for part in parts.values()}) > 1:
            raise UsageError(f"{first}: some splits have labels and some have not; add {typed('label')}=none")
        count = sum(len(paths) for _, _, paths in readings)
        each = ", ".join(f"{len(parts[split].labels):,} as {split}" for split in SPLITS if split in parts)
        kind = f"{len(classes)} classes" if len(classes) > 1 else "no classes"
        return Found(*_numbered(parts, classes), [f"{self.root}: {count:,} shards, taken: {each} ({kind})"])


def _by_split(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Sort the shards of a folder into splits, by the words that their names or folders begin with."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        word = _WORD.match(path.name)
        split = split_of(path.parent.name) or (split_of(word[0]) if word else None)
        found.setdefault(split or "", []).append(path)
    rest = found.pop("", [])
    return {**found, "train": [*found.get("train", []), *rest]} if rest else found


def _numbered(parts: Mapping[str, Part], classes: Mapping[Label, int]) -> tuple[dict[str, Part], tuple[str, ...]]:
    """Number classes in the order of their labels instead of that in which they were met."""
    if len(classes) < 2:
        return {split: Part(each.entries, np.full(len(each.labels), -1)) for split, each in parts.items()}, ()
    ordered = sorted(classes, key=lambda label: (isinstance(label, str), label))
    place = np.empty(len(classes), np.int64)
    place[[classes[label] for label in ordered]] = np.arange(len(classes))
    return {s: Part(each.entries, place[each.labels]) for s, each in parts.items()}, tuple(map(str, ordered))
