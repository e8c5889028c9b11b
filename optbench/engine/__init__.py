"""Many trials as one program: the batched model, its gradients and populations, in plain or compiled steps."""
