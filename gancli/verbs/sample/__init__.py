"""Drawing images from a checkpoint."""
