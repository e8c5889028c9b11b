"""A problem from what people have: a model, a loss, and data in whatever form they are in."""
