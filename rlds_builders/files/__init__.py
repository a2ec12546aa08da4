"""Readers of documents: texts, tables, archives, images, question sets, emoji and stamps."""
