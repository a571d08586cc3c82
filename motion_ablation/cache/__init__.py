"""Everything that is computed once: where it is kept, and by what address."""
