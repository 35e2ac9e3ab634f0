"""Layers and functions that depend on torch alone, not on models or data."""
