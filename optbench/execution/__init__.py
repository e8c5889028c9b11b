"""From a suite to its records: plan, tune, group, run."""
