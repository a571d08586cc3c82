"""Metrics against the truth: videos whose motion, appearance and number of wrong words are known, and how metrics rank them."""
