"""Replay memories for continual learners: packs of past tasks within a budget of bytes, and loaders that rehearse them.

``memory.py`` puts it together; ``stages.py`` is what a memory holds, ``intake.py`` how a pack gets in, ``fit.py`` which
packs may, ``budget.py`` what they cost, ``shrink.py`` what goes when it is too much, ``saved.py`` what the file says
of it, and ``mix.py`` the loader of new data and rehearsal.
"""

from dsetpack.replay.memory import ReplayMemory
from dsetpack.replay.mix import MixedLoader

__all__ = ["MixedLoader", "ReplayMemory"]
