"""Scoring checkpoints, runs and pictures."""
