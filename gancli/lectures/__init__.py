"""Figures of the theory, one file each: gancli train experiment=lecture/<name> draws one and writes its numbers."""
