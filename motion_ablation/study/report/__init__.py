"""From comparisons to what a reader sees."""
