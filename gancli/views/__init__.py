"""What a person looks at: grids, figures, pictures of points."""
