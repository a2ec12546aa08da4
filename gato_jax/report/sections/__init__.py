"""What a study's report shows: one module a kind, each with `section(study, out)`."""
