"""What the C library does with memory that is freed."""

import ctypes
import os

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt(3)
KEPT = 2**28  # bytes that are free at the end of the heap and stay with the process
LARGEST = 2**25  # bytes of a block that is taken from the heap; the library accepts no more
OWN = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


def keep() -> bool:
    """Let this process keep pages that it frees, unless the environment says what to do; tell whether it does.

    A turn allocates and frees the same activations each time. By default glibc returns them to the system in between,
    which clears each page again when it is touched: up to a tenth of a turn of ``model=dcgan``.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None or any(name in os.environ for name in OWN):
        return False
    return all([mallopt(MMAP_THRESHOLD, LARGEST), mallopt(TRIM_THRESHOLD, KEPT)])
