"""Codes of pictures."""
