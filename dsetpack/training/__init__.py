"""Training a network on a pack by its recipe.

``train.py`` has the loop, ``augment.py`` DSA, and ``cutmix.py`` CutMix.
"""
