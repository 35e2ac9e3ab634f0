"""Lectures: figures of the theory, one per file. ``gancli train experiment=lecture/<name>`` draws one."""
