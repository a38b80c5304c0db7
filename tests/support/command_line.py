"""The command line in this process."""

from click.testing import CliRunner

from dsetpack.cli import main


def run(*arguments: object, expect: int = 0) -> str:
    """Run ``dsetpack``, check its exit status, and return what it prints."""
    done = CliRunner().invoke(main, [str(a) for a in arguments])
    assert done.exit_code == expect, done.output + repr(done.exception)
    return done.output
