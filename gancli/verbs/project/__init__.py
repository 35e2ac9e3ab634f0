"""Latents of real pictures."""
