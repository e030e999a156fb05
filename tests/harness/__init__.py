"""Private servers, databases, task files and runs of the product, for tests."""
