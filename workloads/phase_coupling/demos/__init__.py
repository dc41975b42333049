"""Single commands that show one thing, without a study."""
