"""Generative models: ``base.py`` holds what all can do, other families have their files, then one paper is one file."""
