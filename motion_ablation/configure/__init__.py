"""From arguments and YAML to a configured run."""
