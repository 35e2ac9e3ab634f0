"""Config keys that the program uses itself, and parsing of numbers of images."""

from gancli.errors import UsageError

HYDRA_KEYS = ("_target_", "_partial_", "_recursive_")  # of any node, with Hydra's meaning
# Keys of a group's node that the program uses itself, which are not arguments of the target.
LOADER = "gancli.data.loader.Loader"
LOADER_KEYS = ("flip", "resident", "workers")
LEVELS = "gancli.data.levels.Quantised"
LEVELS_KEYS = ("bits", "binarise", "dequantise")
OWN_KEYS = {"data": (*LOADER_KEYS, *LEVELS_KEYS), "optimizer": ("overrides",)}
# Arguments that the program supplies, so that no yaml may set them.
SUPPLIED = {"model": ("spec",), "optimizer": ("params",)}
# Optimizer arguments that may change over the run although torch does not annotate them `float | Annealed`.
ANNEALED_RATES = ("lr", "betas", "momentum")

_SUFFIXES = {"k": 10**3, "M": 10**6, "G": 10**9}


def parse_count(value: int | float | str) -> int:
    """Parse a number of images: 60000, 1e6, 200k, 1.5M.

    Raises:
        UsageError: not a number, not whole, or negative.
    """
    text = str(value).replace("_", "")
    factor = _SUFFIXES.get(text[-1:], 1)
    try:
        number = float(text if factor == 1 else text[:-1]) * factor
    except ValueError:
        number = -1.0
    whole = round(number) if 0 <= number < 2**62 else -1  # 2.3M * 10**6 is not whole in floating point
    if isinstance(value, bool) or whole < 0 or abs(number - whole) > 1e-6 * max(1.0, number):
        raise UsageError(f"expected a number of images such as 60000, 200k, 2M or 1e6, got {value!r}")
    return whole
