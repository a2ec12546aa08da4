"""Where to run, never what."""
