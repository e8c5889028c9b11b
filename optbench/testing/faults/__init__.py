"""A campaign of faults against real runs: `python -m optbench.testing.faults --faults N --seed S`. Unix only."""
