"""Studies: a grid of trials, each one recorded, resumable, and compared in pairs."""
