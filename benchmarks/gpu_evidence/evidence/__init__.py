"""A study for a bare GPU machine: what is packed for it, in which order it is run, and what comes back."""
