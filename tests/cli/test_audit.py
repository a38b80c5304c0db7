"""``dsetpack audit``."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import dsetpack
from dsetpack.cli import main
from dsetpack.formats.card import Provenance
from dsetpack.trainers.attacks import ATTACKS
from dsetpack.trainers.data import load
from tests.support.audit_cases import RECIPE

sklearn = pytest.importorskip("sklearn", reason="the extra 'audit' is not installed")


@pytest.mark.slow
def test_the_command(tmp_path):
    path = tmp_path / "sample.npz"
    splits = (load("fashion-sample", split=split) for split in ("train", "test"))
    train, test = (data.take(data.draw(5, 0)) for data in splits)
    np.savez(path, x_train=train.images[:, 0].numpy(), y_train=train.labels.numpy(),
             x_test=test.images[:, 0].numpy(), y_test=test.labels.numpy())  # fmt: skip
    members = load(path)
    chosen = members.take(members.draw(1, 0))
    made = dsetpack.Pack.from_arrays(
        chosen.images,
        chosen.labels,
        classes=members.classes,
        recipe=RECIPE,
        provenance=Provenance(dataset="sample", dataset_digest=members.digest),
    )
    made.save(tmp_path / "sample.dpk")
    options = ["audit", str(tmp_path / "sample.dpk"), "--data", str(path), "--seeds", "1", "--real-steps", "40"]
    result = CliRunner().invoke(main, [*options, "--json"])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["known_members"] is True
    assert facts["members"] == 50
    for kind in ("pack", "real"):
        assert list(facts[kind]["auc"]) == list(ATTACKS)
        assert all(0 <= one["mean"] <= 1 for one in facts[kind]["auc"].values())
    shown = CliRunner().invoke(main, [*options, "--attack", "threshold"])
    assert f"{facts['real']['auc']['threshold']['mean']:.3f}" in shown.stdout
    assert "logistic" not in shown.stdout
    assert not shown.stderr
    made.replace_card(provenance=Provenance()).save(tmp_path / "silent.dpk")
    options[1] = str(tmp_path / "silent.dpk")
    assert "does not pin the real images" in CliRunner().invoke(main, [*options, "--attack", "threshold"]).stderr
    other = CliRunner().invoke(main, ["audit", str(tmp_path / "sample.dpk"), "--data", "fashion-sample"])
    assert other.exit_code == 1
    assert "fashion-sample is not what the pack was distilled from (sample)" in other.stderr
