"""Sections of the reports of studies: one module per kind, each with `section(study, out)`."""
