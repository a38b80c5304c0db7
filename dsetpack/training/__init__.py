"""Training a network on a pack by its recipe: the loop, DSA and CutMix."""
