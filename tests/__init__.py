"""The tests are a package so that worker processes import this ``tests.support``, not another project's."""
