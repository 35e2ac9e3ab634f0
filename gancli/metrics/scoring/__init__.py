"""What can be scored: images of a prior, the directions of a translation, existing image files."""
