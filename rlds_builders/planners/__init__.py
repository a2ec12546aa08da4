"""Experts' machinery shared by several domains: planning in the simulator, and gains from its linearisation."""
