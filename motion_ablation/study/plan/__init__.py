"""From ablation cards to the runs that they need."""
