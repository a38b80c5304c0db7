"""Everything that measures dsetpack.

- ``measure`` has one command per measurement. Each prints a table and writes JSON files.
- ``cases`` has what the commands measure: packs, settings, and the implementations that dsetpack is compared with.
- ``results`` has the JSON files of the runs that the documents quote.
- ``tables`` renders those files into the tables of README.md and docs/results.md.

Run a command from the root of a checkout: as ``python benchmarks/measure/kill.py`` if the checkout is installed
(``pip install -e .`` also makes this package importable), or as ``python -m benchmarks.measure.kill`` in any case.
"""
