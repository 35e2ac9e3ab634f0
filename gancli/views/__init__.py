"""Pictures to look at: grids, figures, plots of points."""
