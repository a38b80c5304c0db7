"""The command line in this process."""

from click.testing import CliRunner

from dsetpack.cli import main


def run(*arguments: object, expect: int = 0) -> str:
    """What ``dsetpack`` prints; it must end with this status."""
    done = CliRunner().invoke(main, [str(a) for a in arguments])
    assert done.exit_code == expect, done.output + repr(done.exception)
    return done.output
