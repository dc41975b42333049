"""A core joined to a language model at a site, by hooks, in a stated mode."""
