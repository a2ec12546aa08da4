"""Base classes of every domain: environments, dataset builders, and readers of source data."""
