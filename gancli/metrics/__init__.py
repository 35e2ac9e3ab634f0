"""Scores of generated images: a feature extractor, streamed moments, and one file per score."""
