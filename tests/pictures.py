"""Pictures for the tests of folders: the i-th has the shade 5 * i."""

from pathlib import Path

from PIL import Image

from gancli.data.source import Images


def write(root: Path, *names: str, size: tuple[int, int] = (8, 8), mode: str = "RGB", first: int = 0) -> Path:
    """Flat pictures; the i-th has the shade 5 * (first + i)."""
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shade = 5 * (first + i)
        Image.new(mode, size, shade if mode == "L" else (shade,) * 3).save(root / name)
    return root


def numbers(count: int, prefix: str = "", kind: str = "png") -> list[str]:
    return [f"{prefix}{i:03}.{kind}" for i in range(count)]


def shades(images: Images) -> list[int]:
    return sorted(round(float(image.mean()) / 5) for image in images.pixels)
