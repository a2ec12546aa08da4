"""Parts of the stacking expert: grasps of red, and placements on blue."""
