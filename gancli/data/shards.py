"""Samples in tar shards, by WebDataset's convention, read at random places by an index of their offsets.

Files of one sample share their path up to the first dot of the file's name: ``a/0007.jpg`` and ``a/0007.cls`` are the
sample ``a/0007``, whose parts are called ``jpg`` and ``cls`` (Aizman, Maltby & Breuel 2019).
"""

import glob
import json
import os
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gancli.data.entries import Entries, joined
from gancli.data.files import Asked, Entry, Reader
from gancli.data.keys import typed
from gancli.data.splits import Part
from gancli.data.untrusted import Member, Tar, Unreadable, one_line
from gancli.errors import UsageError
from gancli.files import shown

PICTURES = ("jpg", "jpeg", "png", "webp")
AUTO, NONE = "auto", "none"  # values of data.label
Label = int | str

_KEY = "label"  # of a .json, if none is named
_LABEL_BYTES = 2**20
_OPEN = 64  # shards at a time
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")


class Shards(Reader):
    """Tar shards and the samples in them.

    Args:
        root: a shard, a folder of them, or a pattern: ``train-{0000..0146}.tar``, ``train-*.tar``.
        asked: what the user typed it for.
    """

    def __init__(self, root: Path, asked: Asked) -> None:
        self.root, self.asked = root, asked.here()
        self._tar = lru_cache(_OPEN)(Tar)

    def paths(self) -> list[Path]:
        """Return the shards, sorted by name unless the pattern orders them.

        Raises:
            UsageError: there are none, or one that the pattern names is missing.
        """
        if os.path.isdir(self.root):
            found = sorted([*self.root.glob("*.tar"), *self.root.glob("*/*.tar")])
        else:
            found = [path for name in expanded(str(self.root)) for path in _globbed(name)]
        if not found:
            raise UsageError(f"{self}: no tar shards there; name a folder of .tar files, one of them, or a pattern")
        if missing := [path for path in found if not path.is_file()]:
            raise UsageError(f"{self}: {len(missing)} of {len(found)} shards are missing, e.g. {missing[0]}")
        return found

    def samples(self, paths: Sequence[Path], label: str, classes: dict[Label, int]) -> Part:
        """Return the pictures of shards, and their labels, numbered as they come.

        Args:
            paths: of the shards.
            label: as in `part_label`.
            classes: labels and their numbers, which gets new ones; in the end it has an entry unless there are none.

        Raises:
            UsageError: a shard is damaged, or a sample lacks its picture or its label, or has two pictures.
        """
        tables, numbers = [], []
        for path in paths:
            entries, labels = self._shard(path, label)
            tables.append(Entries.of(entries))
            numbers.append([-1 if each is None else classes.setdefault(each, len(classes)) for each in labels])
        whole = np.array([n for each in numbers for n in each], np.int64)
        if (bare := int((whole < 0).sum())) and bare < len(whole):
            raise UsageError(f"{self}: {bare:,} of {len(whole):,} samples have no label{_other(NONE)}")
        return Part(joined(tables), whole)

    def _shard(self, path: Path, label: str) -> tuple[list[Entry], list[Label | None]]:
        """Return the pictures of a shard, one of each sample, and their labels."""
        entries: list[Entry] = []
        labels: list[Label | None] = []
        try:
            tar = self._tar(path)
            samples: dict[str, dict[str, Member]] = {}
            for member in tar.members():
                key, _, part = member.name.rpartition("/")[2].partition(".")
                if key:  # a hidden file is none of a sample
                    name = member.name.removesuffix(f".{part}" if part else "")
                    parts = samples.setdefault(name, {})
                    if part.lower() in parts:
                        raise Unreadable(f"it has two members {shown(member.name)!r}")
                    parts[part.lower()] = member
            stamp = path.stat().st_mtime_ns
            for name, parts in samples.items():
                picture = _picture(name, parts)
                entries.append(Entry(self, f"{path}/{picture.name}", picture.size, stamp, picture.start))
                labels.append(None if label == NONE else _label(tar, name, parts, label))
        except (Unreadable, OSError) as error:
            packed = "; unpack it with gunzip" if path.suffix in (".gz", ".tgz") else ""
            raise UsageError(f"{self.asked.key}: {path}: {one_line(error)}{packed}") from None
        if not entries:
            raise UsageError(f"{self.asked.key}: {path} holds no samples; take it away")
        return entries, labels

    def read(self, entry: Entry) -> BinaryIO:
        path = entry.name[: entry.name.index(".tar/") + 4] if ".tar/" in entry.name else entry.name
        return BytesIO(self._tar(Path(path)).read(entry.place, entry.size))

    def names(self) -> list[str]:
        return [str(path) for path in self.paths()]

    def stands_on(self) -> list[Path]:
        return self.paths()


def expanded(pattern: str) -> Iterator[str]:
    """Yield what a pattern with braces stands for: ``{08..11}`` -> 08 09 10 11, ``{a,b}`` -> a b."""
    pieces: list[Sequence[str]] = []
    end = 0
    for match in _RANGE.finditer(pattern):
        low, high, words = match.groups()
        numbers = range(int(low or 0), int(high or 0) + 1)
        pieces.append([pattern[end : match.start()]])
        pieces.append(words.split(",") if words else [f"{number:0{len(low)}}" for number in numbers])
        end = match.end()
    yield from map("".join, product(*pieces, [pattern[end:]]))


def _globbed(name: str) -> list[Path]:
    return [Path(path) for path in sorted(glob.glob(name))] if glob.has_magic(name) else [Path(name)]


def _picture(name: str, parts: dict[str, Member]) -> Member:
    """Return the picture of a sample. Raises Unreadable if there is not exactly one."""
    found = [parts[ending] for ending in PICTURES if ending in parts]
    if len(found) == 1:
        return found[0]
    have = ", ".join(f".{part}" for part in sorted(parts))
    what = "two pictures" if found else f"no picture (.{', .'.join(PICTURES)})"
    raise Unreadable(f"sample {shown(name)!r} has {what}; it holds {shown(have)}")


def _label(tar: Tar, name: str, parts: dict[str, Member], label: str) -> Label | None:
    """Return the label of a sample; None if none is named, and it has none.

    Raises:
        Unreadable: it is damaged, or is missing although it was named.
    """
    if label == AUTO and "cls" in parts:
        text = _text(tar, name, parts["cls"]).strip()
        if not text:
            raise Unreadable(f"sample {shown(name)!r} has an empty .cls")
        return int(text) if re.fullmatch(r"\d{1,9}", text) else text
    if "json" in parts:
        found = _entry(tar, name, parts["json"], _KEY if label == AUTO else label)
        if found is not None:
            return found
    if label == AUTO:
        return None
    raise Unreadable(f"sample {shown(name)!r} has no {label!r} in a .json{_other(AUTO)}")


def _entry(tar: Tar, name: str, member: Member, key: str) -> Label | None:
    """Return the value of a key of a .json; None: it has none. Raises Unreadable."""
    try:
        found: Any = json.loads(_text(tar, name, member))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the .json of sample {shown(name)!r} is damaged ({one_line(error)})") from None
    value = found.get(key) if isinstance(found, dict) else None
    if value is None or (isinstance(value, int | str) and not isinstance(value, bool) and value != ""):
        return value
    raise Unreadable(f"sample {shown(name)!r} has the label {shown(repr(value))}; allowed are whole numbers and words")


def _text(tar: Tar, name: str, member: Member) -> str:
    if member.size > _LABEL_BYTES:
        raise Unreadable(f"{shown(member.name)!r} of sample {shown(name)!r} is too long for a label")
    try:
        return tar.read(member.start, member.size).decode()
    except UnicodeDecodeError:
        raise Unreadable(f"{shown(member.name)!r} is no text") from None


def _other(value: str) -> str:
    return f"; add {typed('label')}={value}"
