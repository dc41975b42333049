"""Which alarm comes first: signals of every step of every trial, judged at one false-alarm rate."""
