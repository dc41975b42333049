"""The evaluation engine: many points on models that are loaded once."""
