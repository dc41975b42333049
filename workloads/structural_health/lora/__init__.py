"""LoRA fine-tuning that is watched: sentences, the model, the steps, and what they add up to.

Importing this package loads no torch.
"""
