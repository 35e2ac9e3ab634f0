"""The ``bench`` verb: how fast a config trains, where the time goes, and what the device could do."""
