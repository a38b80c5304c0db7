"""``dsetpack info --json``: nothing in it for a terminal to obey."""

import json

import torch
from click.testing import CliRunner

import dsetpack
from dsetpack.cli import main


def test_json_holds_no_control_codes(tmp_path):
    path, title = tmp_path / "odd.dpk", "\x9b31mred\x1b[0m ü"
    dsetpack.Pack.from_arrays(torch.rand(2, 1, 4, 4), [0, 1], title=title).save(path)
    printed = CliRunner().invoke(main, ["info", str(path), "--json"]).output
    assert printed.replace("\n", "").isprintable()
    assert json.loads(printed)["card"]["title"] == title
