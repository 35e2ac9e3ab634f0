"""Where images come from: one file per source; ``loader.py`` turns a source into batches on the device."""
