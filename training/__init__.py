"""Training on token shards: which tokens each step sees, reading them, and finding them again."""
