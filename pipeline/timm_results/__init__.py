"""timm's published tables: fetched, read, checked, named."""
