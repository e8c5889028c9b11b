"""From what a user writes to problems and optimizers."""
