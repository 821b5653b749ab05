"""The object model: what a user declares and what the controllers report.

Import from the submodules (``resources.trainjob``, ``resources.queue``, …). This file imports
nothing, so that small processes can use :mod:`.errors` or :mod:`.names` without loading pydantic.
"""
