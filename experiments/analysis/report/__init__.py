"""From the rows of played episodes to normalised scores, figures and one page."""
