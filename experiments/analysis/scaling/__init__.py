"""Scaling laws: a grid of runs, their points, the law fitted to them and its predictions.

See docs/scaling.md.
"""
