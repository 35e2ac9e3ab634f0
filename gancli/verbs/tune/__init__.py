"""Searching for good settings."""
