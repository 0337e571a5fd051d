"""What was made from what: fingerprints, storage, shards and the manifest rows that describe them."""
