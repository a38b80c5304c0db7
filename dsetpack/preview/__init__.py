"""Previews of a pack: a PNG, or a self-contained HTML page."""
