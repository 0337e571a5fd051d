"""The staged jobs of the pipeline: one file per stage, named by the verb that the recipe uses."""
