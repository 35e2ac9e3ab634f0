"""Tables, curves and sample grids over many runs: what ``gancli report`` writes."""
