"""Scaling laws: a grid of runs, their points, the law fitted to them and what it predicts (docs/scaling.md)."""
