"""Many runs of one recipe: grids, searches and what they found."""
