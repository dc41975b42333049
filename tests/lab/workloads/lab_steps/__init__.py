"""A plug-in as a user has one: a package that is installed nowhere, found through PYTHONPATH."""
