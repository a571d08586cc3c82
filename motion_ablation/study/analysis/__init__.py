"""From scores to comparisons."""
