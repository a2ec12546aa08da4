"""Measures how well a network reads and writes documents that it was not trained on."""
