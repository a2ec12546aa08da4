"""The DeepMind Control Suite (Tassa et al. 2018), which four domains show in different ways."""
