"""Recipes that come with Glasspile, and the rule tables that recipes name."""
