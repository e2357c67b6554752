"""Arguments, optimizers, schedules, what trains when, penalties, adapters, the collapse alarm, trainer, scoring."""
