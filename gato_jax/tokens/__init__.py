"""How a timestep becomes tokens, once: NumPy only, shared by data, agent and tests."""
