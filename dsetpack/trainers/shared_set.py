"""A learned set that serves every budget, kept for other runs: DiM trains its generator once for all budgets.

DiM's paper (Wang et al. 2023, Table 1 and section 4.4) trains one generator and draws 1, 10 or 50 images per class from
it. So ``dim-cifar10-ipc1``, ``-ipc10`` and ``-ipc50`` differ in ``per_class`` alone, and the first that runs trains for
all three.
"""

from __future__ import annotations

import hashlib
import json

from dsetpack.formats.notices import notice
from dsetpack.trainers import parallel
from dsetpack.trainers.arithmetic import current
from dsetpack.trainers.checkpoint import Identity, load_checkpoint, save_checkpoint
from dsetpack.trainers.context import Context
from dsetpack.trainers.parameterizations import Parameterization
from dsetpack.trainers.recipe import DistillRecipe, as_json

_UNUSED = ("title", "method", "data", "ipc", "evaluation", "augmentation", "figures", "inferred")
"""Settings that the learned set does not depend on if it does not depend on the budget."""


class SharedSet:
    """The file in the cache that holds the set of a recipe, data and seed, whatever the budget.

    Args:
        recipe: the recipe; its parameterization must serve every budget.
        context: the data, the space, the seed, the cache and the device.
    """

    def __init__(self, recipe: DistillRecipe, context: Context) -> None:
        settings = {key: value for key, value in as_json(recipe).items() if key not in _UNUSED}
        settings["parameterization"] = {k: v for k, v in settings["parameterization"].items() if k != "per_class"}
        self.identity: Identity = {
            "version": 1,
            "settings": settings,
            "data": context.data.digest,
            "labels": context.data.labels_digest,
            "space": context.space.model.model_dump(mode="json"),
            "seed": context.seed,
            "device": context.device.type,
            "precision": current(context.device),
        }
        key = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:40]
        self.path, self._device = context.cache / f"set-{key}.pt", context.device

    def load(self, synthetic: Parameterization) -> bool:
        """Load the kept set into one that was just built; return whether there is one, the same in all processes.

        Raises:
            FormatError: if the file is damaged.
        """
        if parallel.any_process(not self.path.is_file(), self._device):
            return False
        synthetic.load_state_dict(load_checkpoint(self.path, self.identity)["set"])
        if not parallel.rank():
            notice(f"{self.path}: the set was learned before, for any budget; remove this file to learn it again")
        return True

    def keep(self, synthetic: Parameterization) -> None:
        """Keep a learned set, for every budget."""
        if not parallel.rank():
            save_checkpoint(self.path, self.identity, {"finished": True, "set": synthetic.state_dict()})
