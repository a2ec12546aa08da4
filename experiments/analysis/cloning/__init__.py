"""A clone along the episodes that it imitates: its loss by place, and how much it copies."""
