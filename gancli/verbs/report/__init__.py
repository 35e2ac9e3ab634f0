"""The ``report`` verb: tables, curves and sample grids of many runs."""
