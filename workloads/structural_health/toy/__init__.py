"""The toy model, its data, its faults, and how it trains."""
