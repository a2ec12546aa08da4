"""How far a network's actions are from those of recorded episodes that it was not trained on."""
