"""``dsetpack export``: what it writes and says."""

from __future__ import annotations

from click.testing import CliRunner

from dsetpack.cli import main
from dsetpack.onnx import export
from tests.support.onnx_packs import KFS, NORMALIZED, pack_of


def test_the_command(tmp_path):
    (tmp_path / "x.dpk").write_bytes(pack_of(*KFS, space=NORMALIZED, encoding="int8"))
    source, target = str(tmp_path / "x.dpk"), str(tmp_path / "x.onnx")
    for flags, arguments in (
        ([], {}),
        (["--space", "raw"], {"space": "raw"}),
        (["--decoder-only"], {"decoder_only": True}),
        (["--decoder-only", "--space", "raw"], {"space": "raw", "decoder_only": True}),
        (["--portable", "--label-type", "INT32"], {"portable": True, "label_type": "int32"}),
    ):
        done = CliRunner().invoke(main, ["export", source, target, *flags])
        assert done.exit_code == 0, done.output
        size = export(source, tmp_path / "y.onnx", **arguments)
        assert (tmp_path / "x.onnx").read_bytes() == (tmp_path / "y.onnx").read_bytes()
        assert f"{size:,} bytes" in done.output
