"""Standard data sets, read and, if missing, downloaded by torchvision."""

import http.client
import io
import pickle
import socket
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gancli.data.file_images import part
from gancli.data.files import Asked, Entry, one_line, open_files
from gancli.data.keys import chosen, typed
from gancli.data.pixels import check_crop, fit
from gancli.data.recipe import Recipe
from gancli.data.source import Images, Source, folder
from gancli.data.spec import sides
from gancli.data.splits import Held, divide
from gancli.errors import UsageError, did_you_mean

_SECONDS = 20.0  # a server that does not answer for this long counts as unreachable
_DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class _Set:
    """Where torchvision stores a data set, relative to its root."""

    builder: str  # class in torchvision.datasets
    files: tuple[str, ...]  # required files; {split} if every split has its own
    archive: str = ""  # archive that torchvision unpacks if it is present
    by_split: bool = False  # constructor takes split="train" | "test" instead of train=True | False
    class_names: tuple[str, ...] = ()  # if torchvision has none, or in another form


def _idx(folder: str) -> tuple[str, ...]:
    kinds = ("images-idx3", "labels-idx1")
    return tuple(f"{folder}/raw/{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in kinds)


_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
_CIFAR10 = tuple(f"cifar-10-batches-py/{file}" for file in _BATCHES)
_CIFAR100 = tuple(f"cifar-100-python/{file}" for file in ("train", "test", "meta"))
_STL10 = tuple(f"stl10_binary/{file}.bin" for file in ("train_X", "train_y", "unlabeled_X", "test_X", "test_y"))
_CELEBA = ("celeba/list_eval_partition.txt", "celeba/img_align_celeba/")
_SETS = {
    "mnist": _Set("MNIST", _idx("MNIST"), "the same as .gz", class_names=_DIGITS),
    "fashion_mnist": _Set("FashionMNIST", _idx("FashionMNIST"), "the same as .gz"),
    "kmnist": _Set("KMNIST", _idx("KMNIST"), "the same as .gz"),
    "cifar10": _Set("CIFAR10", _CIFAR10, "cifar-10-python.tar.gz"),
    "cifar100": _Set("CIFAR100", _CIFAR100, "cifar-100-python.tar.gz"),
    "svhn": _Set("SVHN", ("{split}_32x32.mat",), by_split=True, class_names=_DIGITS),
    "stl10": _Set("STL10", _STL10, "stl10_binary.tar.gz", by_split=True),
    "celeba": _Set("CelebA", _CELEBA, "celeba/img_align_celeba.zip"),
}

_CELEBA_ASKED = Asked(
    "{group}=celeba, its file", broken="delete them, and unpack img_align_celeba.zip again", layout="", depth=""
)

# What a failed download raises: no network, a full disk, a web page instead of a file, a partial file.
_DOWNLOAD = (
    *(OSError, RuntimeError, http.client.HTTPException, EOFError, ValueError),
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error),
)
# What reading a damaged file raises.
_DAMAGE = (
    *(OSError, RuntimeError, ValueError, AssertionError, LookupError, EOFError, TypeError, NotImplementedError),
    *(pickle.UnpicklingError, struct.error, zlib.error, UnicodeDecodeError, AttributeError),
)


class TorchvisionImages(Source):
    """One of mnist, fashion_mnist, kmnist, cifar10, cifar100, svhn, stl10, celeba.

    `size`, `channels`, `validation`, `seed` as in `Source`; the test split is the official one.

    - `name`: name of the data set. `root`: folder of torchvision's files; may be read-only if they are present.
      They are downloaded if one of them is missing.
    - `crop`: as in `pixels.resize`, for pictures that are not square: celeba's are 178 x 218. "center" crops
      178 x 178, then resizes, as PyTorch's DCGAN example and mimicry do. VAE papers often use crop=148.
    - `unlabeled` (stl10): train on the 100,000 images without labels, as GAN papers do; the test split then has
      no labels either. False: train on the 5,000 labelled images.

    celeba has no classes; its "valid" partition is the validation split, unless validation=0. Its images are decoded
    once into $GANCLI_CACHE; img_align_celeba.zip need not be unpacked.
    """

    def __init__(
        self,
        name: str,
        root: str = "~/.cache/gancli",
        size: int | None = None,
        channels: int | None = None,
        crop: str | int = "center",
        unlabeled: bool = False,
        validation: int | float = 0.05,
        seed: int = 0,
    ) -> None:
        super().__init__(name, size, channels, validation, seed)
        if name not in _SETS:
            raise UsageError(
                f"{typed('name')}={name!r}: allowed are {', '.join(_SETS)}{did_you_mean(str(name), _SETS)}"
            )
        if unlabeled and name != "stl10":
            raise UsageError(
                f"{typed('unlabeled')}=true: only stl10 has images without labels; {chosen(name)} takes false"
            )
        self.root = folder(root or "~/.cache/gancli")  # GANCLI_DATA may be set and empty
        self.crop = check_crop(crop)
        self.unlabeled = unlabeled

    def _load(self, split: str) -> dict[str, Images]:
        if self.name == "celeba":
            return self._load_celeba()
        part = "test" if split == "test" else "train"
        pixels, labels, names = self._arrays(part)
        height, width = pixels.shape[2:]
        pixels = fit(pixels, self.size, self.channels, self.crop)
        if pixels.shape[2:] != (height, width):
            self._notes = [f"sizes: {sides(height, width)}, resized to {sides(*pixels.shape[2:])}"]
        if part == "test":
            return {"test": self._images("test", pixels, labels, names)}
        return self._train_and_validation(pixels, labels, names)

    def _arrays(self, part: str) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
        """Return the official train or test set, (N, C, H, W) uint8, its labels and class names."""
        info = _SETS[self.name]
        if info.by_split:
            kwargs: dict[str, Any] = {"split": "unlabeled" if self.unlabeled and part == "train" else part}
        else:
            kwargs = {"train": part == "train"}
        data = self._open(part, kwargs)
        pixels = np.asarray(data.data)
        if pixels.ndim == 3:  # MNIST and variants: (N, H, W)
            pixels = pixels[:, None]
        elif pixels.shape[-1] == 3:  # cifar: (N, H, W, 3)
            pixels = pixels.transpose(0, 3, 1, 2)
        if self.unlabeled:
            return pixels, None, ()
        labels = np.asarray(data.targets if hasattr(data, "targets") else data.labels).astype(np.int64)
        names = info.class_names or tuple(getattr(data, "classes", ())) or tuple(map(str, range(int(labels.max()) + 1)))
        return pixels, labels, names

    def _open(self, part: str, kwargs: dict[str, Any]) -> Any:
        """Return the torchvision data set, downloading missing files."""
        if self._missing(part):
            self._download(part, kwargs)
        try:
            return _builder(self.name)(str(self.root), download=False, **kwargs)
        except _DAMAGE as error:
            raise UsageError(
                f"{chosen(self.name)}: its files in {self.root} are there but cannot be read ({one_line(error)}); "
                f"delete {', '.join(self._files(part))} and run again, or work with {chosen('digits')}"
            ) from None

    def _files(self, part: str) -> list[str]:
        return [file.format(split=part) for file in _SETS[self.name].files]

    def _missing(self, part: str) -> list[str]:
        return [file for file in self._files(part) if not (self.root / file).exists()]

    def _download(self, part: str, kwargs: dict[str, Any]) -> None:
        missing = self._missing(part)
        before = [path for path in (self.root / missing[0]).parents if not path.exists()]
        try:
            with _silent_network():
                _builder(self.name)(str(self.root), download=True, **kwargs)
        except (*_DOWNLOAD, _gdown_error()) as error:
            for path in before:  # remove the empty folders that a misspelt data.root would leave
                with suppress(OSError):
                    path.rmdir()
            archive = f" (or {_SETS[self.name].archive})" if _SETS[self.name].archive else ""
            raise UsageError(
                f"{chosen(self.name)}: not found in {self.root} and not downloaded ({one_line(error)}); put "
                f"{', '.join(missing)}{archive} there, name another folder with {typed('root')}=... "
                f"or GANCLI_DATA, or work offline with {chosen('digits')} or {chosen('folder')} {typed('root')}=..."
            ) from None

    def _load_celeba(self) -> dict[str, Images]:
        if not self._celeba_found():
            self._download("train", {"split": "train"})
        base = self.root / "celeba"
        pictures, archive = base / "img_align_celeba", base / "img_align_celeba.zip"
        entries = {
            entry.name.rsplit("/", 1)[-1]: entry
            for entry in open_files(pictures if pictures.is_dir() else archive, _CELEBA_ASKED).entries()
        }
        parts = _partition(base / "list_eval_partition.txt", entries)
        if self.validation == 0:
            del parts["validation"]
        recipe = Recipe(self.size, self.channels or 3, self.crop)
        found = {split: part(each, [-1] * len(each)) for split, each in parts.items()}
        known, pixels = divide(found, (), recipe, Held(0, self.validation, self.seed), base, "auto")
        self._notes = list(known.notes)
        return known.splits(self.name, pixels)

    def _celeba_found(self) -> bool:
        base = self.root / "celeba"
        return (base / "list_eval_partition.txt").exists() and (
            (base / "img_align_celeba").is_dir() or (base / "img_align_celeba.zip").exists()
        )


def _partition(path: Path, entries: dict[str, Entry]) -> dict[str, list[Entry]]:
    """Parse CelebA's partition file, lines of ``000001.jpg 0``: 0 train, 1 validation, 2 test."""
    parts: dict[str, list[Entry]] = {"train": [], "validation": [], "test": []}
    absent, count = [], 0
    try:
        for line in path.read_text().splitlines():
            if line.strip():
                name, number = line.split()
                count += 1
                if name in entries:
                    parts[list(parts)[int(number)]].append(entries[name])
                else:
                    absent.append(name)
    except _DAMAGE as error:
        raise UsageError(f"{path} cannot be read ({one_line(error)}); delete it and run again") from None
    if absent:
        raise UsageError(
            f"{chosen('celeba')}: {len(absent)} of the {count} images of {path} are not beside it, e.g. {absent[0]}; "
            f"unpack img_align_celeba.zip into {path.parent} again"
        )
    if not parts["train"]:
        raise UsageError(f"{chosen('celeba')}: {path} names no training image; delete it and run again")
    return parts


def _builder(name: str) -> Any:
    # Imported here because torchvision takes seconds to import and most sources do not need it.
    from torchvision import datasets

    return getattr(datasets, _SETS[name].builder)


def _gdown_error() -> type[BaseException]:
    """Return the exception of gdown, which torchvision downloads CelebA with; OSError if it is not loaded."""
    return getattr(sys.modules.get("gdown.exceptions"), "FileURLRetrievalError", OSError)


@contextmanager
def _silent_network() -> Iterator[None]:
    """Suppress torchvision's output except for progress bars on a terminal, and limit waiting for servers."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SECONDS)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(sys.stderr if sys.stderr.isatty() else io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(timeout)
