"""Completing images with an explicit model."""
