"""Data sets, one file per source; ``loader.py`` turns a split into batches on the device."""
