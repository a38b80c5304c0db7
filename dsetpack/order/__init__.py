"""The order of samples and the noise of generators: pure functions of (seed, epoch, position), without torch.

``rules.py`` has the order itself, ``philox.py`` the random bits and the noise, ``pairs.py`` which pair is which source
and slot, ``sampling.py`` what an order depends on, ``schedule.py`` the batches of a rank, ``sampler.py`` the sampler
for a ``DataLoader``, and ``checks.py`` the ranges of seed, epoch and rule.
"""
