"""From rows of played episodes to normalised scores, figures and one page (GATO_SPEC section 5)."""
