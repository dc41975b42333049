"""Which layers, attention heads or LoRA adapters a causal language model's predictions rest on."""
