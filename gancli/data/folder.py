"""Any folder or zip of images: ``gancli train data=folder data.root=~/faces data.size=64``."""

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
Named = tuple[Entry, str]  # a file, and its path less the folders that were taken off


class FolderImages(Source):
    """Images of a directory or a zip (never extracted), decoded once and cached under $GANCLI_CACHE.

    Layouts: images directly in it (no labels); one sub-folder per class (sorted names are classes 0, 1, ...; deeper
    folders belong to their class); either of them inside ``train/``, ``test/`` and ``validation/`` (or ``val``,
    ``valid``). A single folder around all of it is looked through. Hidden files and ``__MACOSX`` are ignored.

    - `root`: the folder or zip.
    - `size`: images become size x size; None: all must have one size already, which is kept, square or not.
    - `channels`: 1 or 3; None: 1 if every file stores grey only, else 3. Modes and alpha: see `pixels.flatten`.
    - `crop`: before resizing take the largest centred square ("center"), squeeze the whole picture ("none"), or
      take a centred square of that many pixels.
    - `test`: the test part: a fraction or a number of images held out by `seed`, or the path of another folder
      or zip. Not used when there is a ``test/`` folder.
    - `validation`: a fraction or a number of images held out of train. Not used when there is a ``validation/``.
    - `seed`: chooses the images held out.
    - `on_error`: "refuse" or "skip" files that cannot be read, picture bombs among them.
    """

    def __init__(
        self,
        root: str,
        size: int | None = None,
        channels: int | None = None,
        crop: str | int = "center",
        test: float | str = 0.1,
        validation: float = 0.05,
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
    """Sort the files into train, validation and test by their folders; everything is train without such folders."""
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
    """Sorted names of the class folders, () when there are none, or only one; UsageError for a mixture."""
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
