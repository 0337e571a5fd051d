"""Tokenizer: choose texts to train on, train a SentencePiece BPE model, encode and decode, report compression."""
