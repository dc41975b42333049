"""Does LoRA help a frozen language model read embeddings that were compressed and reconstructed?"""

from workloads.latent_lora.config import LatentLoraConfig, LoraSettings
from workloads.latent_lora.workload import LatentLora

__all__ = ["LatentLora", "LatentLoraConfig", "LoraSettings"]
