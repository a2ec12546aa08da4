"""Registers new domains: what lies there is looked at, and a folder that declares it is written."""
