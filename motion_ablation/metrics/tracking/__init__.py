"""Point tracks, and what makes them."""
