"""Images of Hugging Face's datasets library: ``gancli train data=huggingface data.root=~/faces data.size=64``.

pip install 'gancli[huggingface]'
"""

import glob
import os
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gancli.data import untrusted
from gancli.data.entries import Entries
from gancli.data.file_images import FileImages, Found
from gancli.data.files import Asked, Entry, Reader
from gancli.data.keys import chosen, typed
from gancli.data.layout import split_of
from gancli.data.source import SPLITS, folder
from gancli.data.splits import Part, When
from gancli.data.untrusted import Unreadable, one_line
from gancli.errors import UsageError, did_you_mean
from gancli.files import shown
from gancli.ranges import Bits

NONE = "none"  # value of data.label
_NAMES = ("label", "labels", "class")  # of a column that is taken for the classes
_TABLES = ("parquet", "arrow")


class Rows(Reader):
    """The pictures in one column of a table, which lies on a disk and is read row by row.

    Args:
        root: where it comes from, for messages.
        table: a ``datasets.Dataset`` of that column alone, not decoded.
        column: its name.
    """

    def __init__(self, root: Path, table: Any, column: str) -> None:
        self.root, self.asked = root, Asked(layout="").here()
        self.table, self.column = table, column

    def read(self, entry: Entry) -> BinaryIO:
        with untrusted.refusing():
            value = self.table[entry.place][self.column]
        if not value:
            raise Unreadable("it is empty")
        if value.get("bytes") is not None:
            return BytesIO(value["bytes"])
        return untrusted.regular(value["path"])

    def names(self) -> list[str]:
        return [str(self.root), self.column, self.table._fingerprint]

    def stands_on(self) -> list[Path]:
        return []  # the library's fingerprint, which is among the names, follows the files

    def entries(self, split: str) -> Entries:
        """Return all rows, as files named by their split and number."""
        stamp = int.from_bytes(self.table._fingerprint.encode()[:7])
        return Entries.of(Entry(self, f"{split}/{row}", 0, stamp, row) for row in range(len(self.table)))


class HuggingFaceImages(FileImages):
    """A data set as the datasets library reads it, row by row from its Arrow files on the disk.

    Rows are reached at their numbers, so that orders, epochs and resuming are those of every other set. Code that comes
    with a data set is never run: releases from 4.0 on, which are asked for, cannot.

    - `root`: a folder of ``Dataset.save_to_disk()``, a parquet or arrow file or pattern, a folder of these, or else a
      folder of pictures as its builder ``imagefolder`` reads it.
    - `name`: instead of `root`, a data set of the hub, ``mnist`` or ``user/faces``, which the library downloads;
      `config`: the configuration of it, where there are several.
    - `image`, `label`: names of columns; None: the only one of pictures, and the only one of classes, or ``label``. A
      `label` of "none": no classes.
    - `test`, `validation`: held out of train unless the data set has such a split.

    The other arguments are those of `FileImages`.
    """

    def __init__(
        self,
        root: str | None = None,
        name: str | None = None,
        config: str | None = None,
        image: str | None = None,
        label: str | None = None,
        size: int | None = None,
        channels: int | None = None,
        crop: str | int = "center",
        test: int | float = 0.1,
        validation: int | float = 0.05,
        seed: int = 0,
        on_error: str = "refuse",
        stratify: bool = True,
        bit_depth: Bits | None = None,
        decode: When = "access",
    ) -> None:
        if bool(root) == bool(name):
            raise UsageError(
                f"{chosen('huggingface')} needs a data set on a disk, {typed('root')}=..., or the name of one of the "
                f"hub, {typed('name')}=...; give one of them"
            )
        where = folder(root) if root else Path(str(name))
        super().__init__(
            "huggingface", where, size, channels, crop, test, validation, seed, on_error, stratify, bit_depth, decode
        )
        self.hub, self.config, self.image, self.label = name, config, image, label
        self._tables: Mapping[str, Any] = {}

    def _depends(self) -> dict[str, Any]:
        return {"config": self.config, "label": self.label, "splits": list(self._tables)}

    def _readers(self) -> Sequence[Reader]:
        library = _library()
        try:
            found = self._opened(library)
        except UsageError:
            raise
        except (*untrusted.BROKEN, library.exceptions.DatasetsError) as error:
            raise UsageError(f"{self._typed()}: the datasets library cannot read it ({one_line(error)})") from None
        splits = found if isinstance(found, dict) else {"train": found}
        tables = {split: table for name, table in splits.items() if (split := split_of(str(name))) and len(table)}
        if "train" not in tables and len(splits) == 1:
            tables = {"train": next(iter(splits.values()))}
        if "train" not in tables:
            raise UsageError(f"{self._typed()}: no train among its splits {', '.join(map(str, splits))}")
        self._tables = {split: tables[split] for split in SPLITS if split in tables}
        return [self._rows(table, library) for table in self._tables.values()]

    def _opened(self, library: Any) -> Any:
        """Return a Dataset, or one of each split."""
        if self.hub:
            return library.load_dataset(self.hub, self.config)
        root = str(self.root)
        if any((self.root / file).is_file() for file in ("state.json", "dataset_dict.json")):
            return library.load_from_disk(root)
        for kind in _TABLES:
            pattern = f"{root}/**/*" if os.path.isdir(root) else root
            if files := [path for path in sorted(glob.glob(pattern, recursive=True)) if path.endswith(f".{kind}")]:
                return library.load_dataset(kind, data_files=_by_split(files))
        if not os.path.isdir(root):
            raise UsageError(f"{self._typed()}: no such folder, parquet or arrow file")
        return library.load_dataset("imagefolder", data_dir=root)

    def _typed(self) -> str:
        return f"{typed('name' if self.hub else 'root')}={self.hub or self.root}"

    def _rows(self, table: Any, library: Any) -> Rows:
        """Return the reader of the column of pictures. Raises UsageError."""
        columns = [name for name, kind in table.features.items() if _holds_pictures(kind, library)]
        if self.image is not None and self.image not in table.features:
            hint = did_you_mean(self.image, list(table.features))
            raise UsageError(f"{typed('image')}={self.image}: the columns are {', '.join(table.features)}{hint}")
        if self.image is None and len(columns) != 1:
            what = f"its columns of pictures are {', '.join(columns)}" if columns else "it has no column of pictures"
            have = shown(", ".join(table.features))
            raise UsageError(f"{self._typed()}: {what} (columns: {have}); name one with {typed('image')}=")
        column = self.image or columns[0]
        if not _holds_pictures(table.features[column], library):
            raise UsageError(f"{typed('image')}={column}: that column holds no pictures, but {table.features[column]}")
        bare = table.select_columns([column]).cast_column(column, library.Image(decode=False))
        return Rows(self.root, bare, column)

    def _find(self, readers: Sequence[Reader]) -> Found:
        rows = [reader for reader in readers if isinstance(reader, Rows)]
        column = self._class_column()
        values = {split: None if column is None else _values(each, column) for split, each in self._tables.items()}
        names = self._names(column, values)
        parts = {
            split: Part(reader.entries(split), self._numbers(split, values[split], names))
            for split, reader in zip(self._tables, rows)
        }
        each = ", ".join(f"{len(part.labels):,} as {split}" for split, part in parts.items())
        kind = f"{len(names)} classes of {column!r}" if names else "no classes"
        return Found(parts, names, [f"{self.root}: pictures of {rows[0].column!r}, taken: {each} ({kind})"])

    def _class_column(self) -> str | None:
        """Return the column of the classes; None: there is none. Raises UsageError."""
        features = self._tables["train"].features
        if self.label == NONE:
            return None
        if self.label is not None:
            if self.label not in features:
                hint = did_you_mean(self.label, list(features))
                raise UsageError(
                    f"{typed('label')}={self.label}: the columns are {', '.join(features)}, and none is {NONE}{hint}"
                )
            return self.label
        classes = [name for name, kind in features.items() if type(kind).__name__ == "ClassLabel"]
        if len(classes) > 1:
            raise UsageError(
                f"{self._typed()}: its columns of classes are {', '.join(classes)}; name one, or none, with "
                f"{typed('label')}="
            )
        return next(iter(classes or [name for name in _NAMES if name in features]), None)

    def _names(self, column: str | None, values: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the classes in the order of their numbers; fewer than two are none."""
        if column is None:
            return ()
        kind = self._tables["train"].features[column]
        found = getattr(kind, "names", None) or [str(each) for each in sorted(set(values["train"].tolist()))]
        return tuple(found) if len(found) > 1 else ()

    def _numbers(self, split: str, values: Any, names: tuple[str, ...]) -> np.ndarray:
        """Return the classes of a split, (N,) int64. Raises UsageError for one that is none of the names."""
        if not names:
            return np.full(len(self._tables[split]), -1)
        kind = self._tables["train"].features[self._class_column()]
        known = range(len(names)) if getattr(kind, "names", None) else names
        index = {str(label): number for number, label in enumerate(known)}
        distinct, inverse = np.unique(values, return_inverse=True)
        if strange := [label for label in distinct.tolist() if str(label) not in index]:
            raise UsageError(
                f"{self._typed()}: {split} has the label {shown(str(strange[0]))}, which is no class of train; add "
                f"{typed('label')}={NONE}"
            )
        return np.array([index[str(label)] for label in distinct.tolist()], np.int64)[inverse]


def _library() -> Any:
    """Return the datasets library. Raises UsageError."""
    try:
        import datasets
    except ImportError:
        raise UsageError(
            f"{chosen('huggingface')} needs the datasets library; run:\npip install 'gancli[huggingface]'"
        ) from None
    return datasets


def _holds_pictures(kind: Any, library: Any) -> bool:
    """Tell whether a column holds pictures: by its type, or as parquet files without one have them."""
    return isinstance(kind, library.Image) or (isinstance(kind, dict) and set(kind) == {"bytes", "path"})


def _values(table: Any, column: str) -> np.ndarray:
    """Return a column of whole numbers or words, (N,). Raises UsageError."""
    values = np.array(table.select_columns([column]).with_format("arrow")[:][column].to_pylist())
    if values.ndim != 1 or values.dtype.kind not in "iuU":
        raise UsageError(f"{typed('label')}={column}: allowed are whole numbers and words, not {values.dtype}")
    return values


def _by_split(files: Sequence[str]) -> dict[str, list[str]]:
    """Sort files into splits by the beginnings of their names, as the hub does: ``test-00000-of-00002.parquet``."""
    found: dict[str, list[str]] = {}
    for path in files:
        word = Path(path).name.replace("_", "-").split("-")[0].split(".")[0]
        found.setdefault(split_of(word) or split_of(Path(path).parent.name) or "train", []).append(path)
    return found
