"""A page that shows datasets before anyone trains on them."""
