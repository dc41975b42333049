"""Claims: what is said of a figure, held against its interval."""
