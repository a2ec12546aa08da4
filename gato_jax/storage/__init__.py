"""Atomic file writes, locks, errors of full disks, and the origin of data."""
