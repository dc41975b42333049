"""Transform-domain models: what a partly known or damaged encoding of a model still knows."""
