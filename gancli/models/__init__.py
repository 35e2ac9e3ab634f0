"""Generative models: ``base.py`` holds the families, then one paper is one file."""
