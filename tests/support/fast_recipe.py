"""Settings that make the recipe ``kfs-cpu`` finish within a second."""

SETTINGS = {
    "parameterization.pretrain.steps": 3,
    "parameterization.pretrain_batch": 16,
    "parameterization.encoder_width": 4,
    "schedule.steps": 3,
    "objective.networks": 2,
    "objective.width": 4,
    "evaluation.steps": 3,
    "evaluation.batch_size": 16,
    "evaluation.width": 4,
}
FAST = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
"""The same settings as arguments of ``dsetpack distill``."""
