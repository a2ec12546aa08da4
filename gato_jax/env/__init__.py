"""Environments: contract, episode loop, raw logs, result rows, and simulator processes.

Importing this package needs neither JAX nor TensorFlow.
"""
