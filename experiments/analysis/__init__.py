"""Analyses of trained networks: reports, scaling laws, probes, language and recorded actions.

Nothing in gato_jax imports this package.
"""
