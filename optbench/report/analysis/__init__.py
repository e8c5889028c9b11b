"""Numbers of the report: computed from records alone, never drawn."""
