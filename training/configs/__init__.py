"""Configurations of runs, by name: what is not said in them is said in training/config.py."""
