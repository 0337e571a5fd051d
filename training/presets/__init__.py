"""Phase plans of published runs, by name."""
