"""Batches of decoded images for torch: datasets, streams and loaders over anything that decodes pairs.

``source.py`` says what can be loaded from, ``dataset.py`` has the map-style dataset, ``stream.py`` the iterable one,
``loader.py`` the loader of ``Pack.loader``, ``shared_epoch.py`` the epoch that worker processes share, and
``device.py`` how tensors get to a device.
"""
