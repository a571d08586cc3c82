"""Studies: ablation cards become runs, runs become tables, sheets and a TensorBoard comparison."""
