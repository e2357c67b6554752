"""Arguments, layer-wise learning rates, the start of the head, the trainer, scoring."""
