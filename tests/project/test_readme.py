"""What the README promises besides code that runs (see test_documents.py): its two commands, its options, its links."""

from __future__ import annotations

import re

from click.testing import CliRunner

from dsetpack.cli import main
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_there_are_the_two_commands_and_three_uses():
    shell = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    assert "pip install -c constraints.txt -e '.[all]' && dsetpack demo" in shell
    assert "pip install -c constraints.txt -e '.[dev]' && pytest" in shell
    assert "dsetpack distill --data my.npz --out my.dpk && dsetpack eval my.dpk --data my.npz" in shell
    assert len(re.findall(r"^```python$", README, re.MULTILINE)) >= 3


def test_options_of_distill_exist():
    helped = CliRunner().invoke(main, ["distill", "--help"]).output
    for option in ("--method", "--preset", "--recipe"):
        assert f"`{option}" in README
        assert option in helped


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target
