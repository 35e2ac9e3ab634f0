"""Images from a folder or zip: ``gancli train data=folder data.root=~/faces data.size=64``."""

from gancli.data.decode import Item, Recipe, decode_splits
from gancli.data.files import EXTENSIONS, Entry, Files, open_files
from gancli.data.pixels import check_crop
from gancli.data.source import Images, Source, amount, folder
from gancli.errors import UsageError, did_you_mean

_SPLIT_FOLDERS = {
    "train": "train",
    "test": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
}
Named = tuple[Entry, str]  # a file, and its path below the split's folder


class FolderImages(Source):
    """Images of a directory or a zip (never extracted), decoded once and cached under $GANCLI_CACHE.

    Layouts: images at the top level (no labels); one sub-folder per class (classes 0, 1, ... in sorted order; nested
    folders belong to the class they are in); or either of these inside ``train/``, ``test/`` and ``validation/`` (or
    ``val``, ``valid``). A single enclosing folder is ignored, as are hidden files and ``__MACOSX``.

    - `root`: the folder or zip.
    - `size`: height and width after resizing; None: keep the native size, which must be the same for all images.
    - `channels`: 1 or 3; None: 1 if all files are grey, else 3. See `pixels.flatten` for modes and transparency.
    - `crop`: what is resized: the largest centred square ("center"), the whole picture ("none"), or a centred square
      of that many pixels.
    - `test`: path of another folder or zip to test on; or the fraction or number of images to hold out, which is
      ignored if there is a ``test/`` folder.
    - `validation`: fraction or number of training images to hold out. Ignored if there is a ``validation/`` folder.
    - `seed`: seed of the held-out images.
    - `on_error`: "refuse" (raise an error) or "skip" files that cannot be read, including decompression bombs.
    """

    def __init__(
        self,
        root: str,
        size: int | None = None,
        channels: int | None = None,
        crop: str | int = "center",
        test: int | float | str = 0.1,
        validation: int | float = 0.05,
        seed: int = 0,
        on_error: str = "refuse",
    ) -> None:
        super().__init__("folder", size, channels, validation, seed)
        if not isinstance(root, str) or not root:
            raise UsageError(f"data.root={root!r}: name a folder or zip of images: data.root=~/my-images")
        if on_error not in ("refuse", "skip"):
            hint = did_you_mean(str(on_error), ("refuse", "skip"))
            raise UsageError(f"data.on_error={on_error!r}: allowed are refuse and skip{hint}")
        self.root = folder(root)
        self.test = test if isinstance(test, str) else amount("test", test)
        self.recipe = Recipe(self.size, self.channels, check_crop(crop), on_error == "skip")

    def _parts(self) -> dict[str, list[Named]]:
        return arrange(open_files(self.root))

    def _load(self, split: str) -> dict[str, Images]:
        parts = self._parts()
        if isinstance(self.test, str):
            other = arrange(open_files(folder(self.test)))
            parts["test"] = other.get("test") or other["train"]
        classes = class_names(parts, str(self.root))
        index = {name: label for label, name in enumerate(classes)}
        items = {
            part: [Item(entry, index[path.split("/")[0]] if classes else -1) for entry, path in named]
            for part, named in parts.items()
        }
        test = 0 if isinstance(self.test, str) else self.test
        return decode_splits(
            self.name, self.root, items, classes, self.recipe, test=test, validation=self.validation, seed=self.seed
        )


def arrange(files: Files) -> dict[str, list[Named]]:
    """Group the files into splits by their top-level folders; without such folders, all files are train."""
    named = [(entry, entry.name) for entry in files.entries()]
    if not named:
        raise UsageError(
            f"data.root={files.root}: no images in it; looked for {' '.join(EXTENSIONS)} there and in its sub-folders"
        )
    while True:
        tops = {path.split("/")[0] if "/" in path else "" for _, path in named}
        if "" not in tops and {"train"} <= {_SPLIT_FOLDERS.get(top.lower()) for top in tops} <= set(_SPLIT_FOLDERS):
            break
        if len(tops) > 1 or "" in tops:
            return {"train": named}
        named = [(entry, path.split("/", 1)[1]) for entry, path in named]
    parts: dict[str, list[Named]] = {}
    for entry, path in named:
        top, rest = path.split("/", 1)
        parts.setdefault(_SPLIT_FOLDERS[top.lower()], []).append((entry, rest))
    return parts


def class_names(parts: dict[str, list[Named]], root: str) -> tuple[str, ...]:
    """Return the sorted names of the class folders, or () if there are fewer than two.

    Raises UsageError if images lie beside class folders, or a class has no training images.
    """
    paths = [path for named in parts.values() for _, path in named]
    names = {path.split("/")[0] for path in paths if "/" in path}
    loose = [path for path in paths if "/" not in path]
    if names and loose:
        raise UsageError(
            f"data.root={root}: {len(loose)} images, e.g. {loose[0]}, lie beside {len(names)} class folders, "
            f"e.g. {min(names)}/; move all images into class folders, or none"
        )
    if len(names) < 2:
        return ()
    training = {path.split("/")[0] for _, path in parts["train"]}
    if names - training:
        raise UsageError(
            f"data.root={root}: class {min(names - training)!r} has test or validation images but none to train on; "
            f"the classes of train are {', '.join(sorted(training)[:10])}"
        )
    return tuple(sorted(names))
