"""A pack to look at: a PNG, or an HTML page that stands alone."""
