"""Tokenization of timesteps and documents: NumPy only, shared by training, acting and tests."""
