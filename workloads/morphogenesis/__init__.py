"""Growing networks: seeds in the slots of a host, and whether they cause the gain.

Importing this package loads no torch.
"""
