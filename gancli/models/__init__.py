"""Generative models. ``base.py``: the common interface; one file per family; one file per paper."""
