"""Labelled images as people have them: class names, labels, splits, folders and image files. Never torch."""
