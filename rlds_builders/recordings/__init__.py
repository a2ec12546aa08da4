"""Readers of recorded episodes in the formats that people have, each where it lies."""
