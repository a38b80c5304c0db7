"""Batches of decoded images for torch: datasets, streams and loaders over anything that decodes pairs."""
