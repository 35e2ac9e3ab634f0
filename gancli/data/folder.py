"""Images from a folder or zip: ``gancli train data=folder data.root=~/faces data.size=64``."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, get_args

from gancli.data import layout as layouts
from gancli.data.decode import Recipe
from gancli.data.files import DATA_ROOT, Asked, Entry, open_files
from gancli.data.keys import typed
from gancli.data.layout import How, Layout, Named
from gancli.data.pixels import check_crop
from gancli.data.source import Images, Source, amount, folder
from gancli.data.splits import Item, decode_splits
from gancli.errors import UsageError, did_you_mean
from gancli.files import shown
from gancli.ranges import Bits

_ON_ERROR = ("refuse", "skip")


class FolderImages(Source):
    """Images of a directory or a zip (never extracted), decoded once and cached under $GANCLI_CACHE.

    Layouts (`layout.read`): images at the top level (no labels); one sub-folder per class (classes 0, 1, ... in sorted
    order; nested folders belong to the class they are in); or either of these inside ``train/``, ``test/`` and
    ``validation/`` (``training``, ``testing``, ``val``, ``valid``). Labels of a ``dataset.json`` come first, and
    numbered shards, ``00000/ 00001/``, are no classes. A single enclosing folder is ignored, as are hidden files and
    ``__MACOSX``. What was taken and what was not is noted (`notes`).

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
    - `bit_depth`: bits that pictures of 16 bits per channel use, such as 12; None: all of them.
    - `layout`: "auto"; "classes": every top-level folder is a class; or "flat": all images, without classes.
    - `stratify`: hold out as many images of each class as its share, and leave each some to train on. False, which runs
      of earlier releases were trained with: hold out any.
    """

    asked: ClassVar[Asked] = DATA_ROOT

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
        layout: How = "auto",
        stratify: bool = False,
        bit_depth: Bits | None = None,
    ) -> None:
        super().__init__("folder", size, channels, validation, seed)
        if not isinstance(root, str) or not root:
            raise UsageError(f"{typed('root')}={root!r}: name a folder or zip of images: {typed('root')}=~/my-images")
        for key, value, allowed in (("on_error", on_error, _ON_ERROR), ("layout", layout, get_args(How))):
            if value not in allowed:
                hint = did_you_mean(str(value), allowed)
                raise UsageError(f"{typed(key)}={value!r}: allowed are {', '.join(allowed)}{hint}")
        self.root = folder(root)
        self.test = test if isinstance(test, str) else amount("test", test)
        self.layout, self.stratify = layout, stratify
        self.recipe = Recipe(self.size, self.channels, check_crop(crop), on_error == "skip", bit_depth)

    def _layout(self) -> Layout:
        return layouts.read(open_files(self.root, self.asked), self.layout)

    def _load(self, split: str) -> dict[str, Images]:
        found = self._layout()
        self._notes = [found.note]
        parts, labels = found.parts, found.labels
        if isinstance(self.test, str):
            other = layouts.read(open_files(folder(self.test), Asked("{node}.test")), self.layout)
            self._notes.append(f"test: {other.note}")
            parts, labels = {**parts, "test": other.parts.get("test") or other.parts["train"]}, labels | other.labels
        items = {split: _items(named, labels, found.classes) for split, named in parts.items()}
        test = 0 if isinstance(self.test, str) else self.test
        splits, notes = decode_splits(
            self.name, self.root, items, found.classes, self.recipe, test=test, validation=self.validation,
            seed=self.seed, stratify=self.stratify,
        )  # fmt: skip
        self._notes += notes
        return splits


def _items(named: Sequence[Named], labels: Mapping[Entry, str], classes: tuple[str, ...]) -> list[Item]:
    """Number the classes of images. Raises UsageError for images of no class where there are classes."""
    index = {name: label for label, name in enumerate(classes)}
    if classes and (strange := [entry for entry, _ in named if labels.get(entry) not in index]):
        what = labels.get(strange[0])
        what = "is in no class folder" if what is None else f"is of class {what!r}, which train has not"
        raise UsageError(
            f"{strange[0].files}: {shown(strange[0].name)} {what}; the classes are {shown(', '.join(classes[:10]))}"
        )
    return [Item(entry, index[labels[entry]] if classes else -1) for entry, _ in named]
