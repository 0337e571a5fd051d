"""Deduplication kernels: Arrow string columns and numpy arrays in, numpy arrays out; no file is opened here.

LSH only proposes (`minhash`, `candidates`); what is removed is decided on exact similarity (`jaccard`) against a
document that is kept (`greedy`).
"""
