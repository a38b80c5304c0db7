"""``python -m dsetpack``: the command line."""

from dsetpack.cli import main

if __name__ == "__main__":
    main()
