"""Builds the package, whose metadata is in pyproject.toml."""

import setuptools

setuptools.setup()
