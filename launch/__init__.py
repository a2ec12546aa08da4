"""Submits experiments to machines: backends, jobs and their records, pre-flights and sweeps."""
