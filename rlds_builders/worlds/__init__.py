"""Simulated worlds that several domains share: MiniWorld, Atari, dm_control, MuJoCo rendering."""
