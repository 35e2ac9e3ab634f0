"""Completing images with a model that draws pixel by pixel."""
