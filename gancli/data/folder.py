"""Images from a folder or zip: ``gancli train data=folder data.root=~/faces data.size=64``."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, get_args

from gancli.data import layout as layouts
from gancli.data.file_images import FileImages, Found, check_word, part
from gancli.data.files import DATA_ROOT, Asked, Entry, Files, Reader, open_files
from gancli.data.keys import typed
from gancli.data.layout import How, Layout, Named
from gancli.data.source import folder
from gancli.data.splits import Part, When
from gancli.errors import UsageError
from gancli.files import shown
from gancli.ranges import Bits


class FolderImages(FileImages):
    """Images of a directory or a zip (never extracted).

    Layouts (`layout.read`): images at the top level (no labels); one sub-folder per class (classes 0, 1, ... in sorted
    order; nested folders belong to the class they are in); or either of these inside ``train/``, ``test/`` and
    ``validation/`` (``training``, ``testing``, ``val``, ``valid``). Labels of a ``dataset.json`` come first, and
    numbered shards, ``00000/ 00001/``, are no classes. A single enclosing folder is ignored, as are hidden files and
    ``__MACOSX``. What was taken and what was not is noted (`notes`).

    - `root`: the folder or zip.
    - `test`: path of another folder or zip to test on; or the fraction or number of images to hold out, which is
      ignored if there is a ``test/`` folder.
    - `validation`: fraction or number of training images to hold out. Ignored if there is a ``validation/`` folder.
    - `layout`: "auto"; "classes": every top-level folder is a class; or "flat": all images, without classes.

    The other arguments are those of `FileImages`.
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
        decode: When = "auto",
    ) -> None:
        if not isinstance(root, str) or not root:
            raise UsageError(f"{typed('root')}={root!r}: name a folder or zip of images: {typed('root')}=~/my-images")
        held = 0 if isinstance(test, str) else test
        super().__init__(
            "folder", folder(root), size, channels, crop, held, validation, seed, on_error, stratify, bit_depth, decode
        )
        check_word("layout", layout, get_args(How))
        self.test = folder(test) if isinstance(test, str) else None
        self.layout: How = layout

    def _layout(self, files: Files) -> Layout:
        return layouts.read(files, self.layout)

    def _depends(self) -> dict[str, Any]:
        return {"layout": self.layout}

    def _readers(self) -> Sequence[Files]:
        tested = [] if self.test is None else [open_files(self.test, Asked("{node}.test"))]
        return [open_files(self.root, self.asked), *tested]

    def _find(self, readers: Sequence[Reader]) -> Found:
        files, *tested = (reader for reader in readers if isinstance(reader, Files))
        found = self._layout(files)
        parts, labels, notes = found.parts, found.labels, [found.note]
        for each in tested:
            other = layouts.read(each, self.layout)
            notes.append(f"test: {other.note}")
            parts, labels = {**parts, "test": other.parts.get("test") or other.parts["train"]}, labels | other.labels
        return Found({s: _numbered(named, labels, found.classes) for s, named in parts.items()}, found.classes, notes)


def _numbered(named: Sequence[Named], labels: Mapping[Entry, str], classes: tuple[str, ...]) -> Part:
    """Number the classes of images. Raises UsageError for images of no class where there are classes."""
    index = {name: label for label, name in enumerate(classes)}
    if classes and (strange := [entry for entry, _ in named if labels.get(entry) not in index]):
        what = labels.get(strange[0])
        what = "is in no class folder" if what is None else f"is of class {what!r}, which train has not"
        raise UsageError(
            f"{strange[0].files}: {shown(strange[0].name)} {what}; the classes are {shown(', '.join(classes[:10]))}"
        )
    return part([entry for entry, _ in named], [index[labels[entry]] if classes else -1 for entry, _ in named])
