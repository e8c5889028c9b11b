"""First-order methods: any torch.optim class."""
