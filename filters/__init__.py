"""Measuring and judging text: signals are functions of a TextView, rules are bounds on signals; no I/O, no models."""
