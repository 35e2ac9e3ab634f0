"""A table of image files: a few bytes each, so that a million of them take no gigabyte and can lie on disk."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from gancli.data import cache
from gancli.data.files import Entry, Reader

_COLUMNS = ("start", "length", "size", "stamp", "place", "owner")


class Entries(Sequence[Entry]):
    """Image files as columns of numbers and one text with all names; the entries are made when they are asked for.

    - `files`: the readers that the entries belong to.
    - `text`: (bytes,) uint8, the names without separators.
    - `columns`: (N,) int64 each: `start` and `length` of the name, `size`, `stamp` and `place` as of an Entry, `owner`,
      which is the position in `files`.
    """

    def __init__(self, files: Sequence[Reader], text: np.ndarray, columns: dict[str, np.ndarray]) -> None:
        self.files, self.text, self.columns = tuple(files), text, columns

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "Entries":
        """Return the table of entries of any number of readers."""
        owners: dict[int, int] = {}
        files: list[Reader] = []
        names: list[bytes] = []
        rows: list[tuple[int, int, int, int]] = []
        for entry in entries:
            if id(entry.files) not in owners:
                owners[id(entry.files)] = len(files)
                files.append(entry.files)
            names.append(entry.name.encode("utf-8", "surrogateescape"))
            rows.append((entry.size, entry.stamp, entry.place, owners[id(entry.files)]))
        length = np.array([len(name) for name in names], np.int64)
        size, stamp, place, owner = np.array(rows, np.int64).reshape(-1, 4).T
        text = np.frombuffer(b"".join(names), np.uint8)
        columns = {"start": np.cumsum(length) - length, "length": length, "size": size, "stamp": stamp}
        return cls(files, text, {**columns, "place": place, "owner": owner})

    def __len__(self) -> int:
        return len(self.columns["start"])

    @overload
    def __getitem__(self, index: int) -> Entry: ...

    @overload
    def __getitem__(self, index: slice) -> "Entries": ...

    def __getitem__(self, index: int | slice) -> "Entry | Entries":
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        start, length, size, stamp, place, owner = (int(self.columns[name][index]) for name in _COLUMNS)
        name = self.text[start : start + length].tobytes().decode("utf-8", "surrogateescape")
        return Entry(self.files[owner], name, size, stamp, place)

    def take(self, rows: np.ndarray) -> "Entries":
        """Return the entries at positions, (M,) int64, or where a mask, (N,) bool, is true; the text is shared."""
        return Entries(self.files, self.text, {name: column[rows] for name, column in self.columns.items()})

    def mean_bytes(self) -> float:
        """Return the mean size of the files in bytes."""
        return float(np.maximum(self.columns["size"], 0).mean()) if len(self) else 0.0

    def save(self, folder: Path) -> None:
        """Write the table into a folder; load() needs the readers again. Raises OSError."""
        cache.save(folder / "names.npy", self.text)
        cache.save(folder / "files.npy", np.stack([self.columns[name] for name in _COLUMNS]))

    @classmethod
    def load(cls, folder: Path, files: Sequence[Reader]) -> "Entries":
        """Read what save() wrote; it stays on disk until it is used. Raises OSError, ValueError."""
        text, columns = (cache.array(folder / f"{name}.npy") for name in ("names", "files"))
        if text.dtype != np.uint8 or columns.dtype != np.int64 or len(columns) != len(_COLUMNS):
            raise ValueError(f"{folder} holds no table of files")
        return cls(files, text, dict(zip(_COLUMNS, columns)))


def joined(parts: Sequence[Entries]) -> Entries:
    """Return the entries of several tables, one after the other."""
    files: list[Reader] = []
    columns: dict[str, list[np.ndarray]] = {name: [] for name in _COLUMNS}
    letters = 0
    for part in parts:
        for each in part.files:
            if not any(each is known for known in files):
                files.append(each)
        places = np.array([next(i for i, known in enumerate(files) if known is each) for each in part.files], np.int64)
        for name in _COLUMNS:
            column = part.columns[name]
            columns[name].append(column + letters if name == "start" else places[column] if name == "owner" else column)
        letters += len(part.text)
    text = np.concatenate([part.text for part in parts])
    return Entries(files, text, {name: np.concatenate(column) for name, column in columns.items()})
