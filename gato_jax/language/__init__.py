"""What a network made of documents that it was not trained on: rows of texts, captions and answers."""
