"""Mutation testing of the policies and the core: `python tests/support/mutation`, or `make mutate`.

docs/decisions/004-mutation-testing.md says why this is our own. `operators` knows what is changed, `session` runs the
tests in forked processes, `report` holds the survivors against tests/mutation/survivors.toml.
"""
