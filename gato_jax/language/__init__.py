"""What a network made of documents that it was not trained on: rows of texts, captions and answers."""

from gato_jax.language.measure import Row, measure

__all__ = ["Row", "measure"]
