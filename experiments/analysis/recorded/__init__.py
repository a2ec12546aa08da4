"""Compares a network's actions with recorded episodes that it was not trained on."""
