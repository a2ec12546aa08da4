"""The Arcade Learning Environment (Bellemare et al. 2013) and a planner on its emulator."""
