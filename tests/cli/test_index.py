"""What ``--help`` lists of data sets and layouts is what there is."""

from __future__ import annotations

from dsetpack.cli import index


def test_the_file_is_current():
    now = index.text(index.found())
    assert index.PATH.read_text(encoding="utf-8") == now, "run: python -m dsetpack.cli.index"
    assert index.text(index.read()) == now
    assert "cifar10" in index.read().data
    assert "Not said: " in index.read().layouts["tensors"]
