"""Planners that experts of several domains share: sampling in the simulator, search, and LQR."""
