"""From a configuration to a host with fresh parameters."""

from __future__ import annotations

from collections.abc import Sequence

from workloads.morphogenesis.body.hosts.cnn import cnn_parts
from workloads.morphogenesis.body.hosts.gpt import gpt_parts
from workloads.morphogenesis.body.hosts.host import GrowingHost
from workloads.morphogenesis.body.sizes import built_widths
from workloads.morphogenesis.config import MorphogenesisConfig


def build_host(
    config: MorphogenesisConfig, classes: int, input_shape: Sequence[int], seed: int
) -> GrowingHost:
    """The host that a configuration describes, its named slots empty, on the CPU.

    `classes`: of images, or the vocabulary of a text. `input_shape`: [channels, height, width] of
    an image; not used by a GPT, which takes token ids [batch, tokens]. With `params_ratio` it is a
    larger host without slots. Each part is drawn from its own stream `host/<part>` of `seed`.

    Raises ValueError for slots that the host lacks, for an image that is not [channels, height,
    width], and for `params_ratio` where seeds can't be counted.
    """
    if config.host == "cnn" and len(input_shape) != 3:
        raise ValueError(
            f"the CNN host takes images [channels, height, width], not {list(input_shape)}"
        )
    widths = built_widths(config, classes, input_shape)
    if config.params_ratio is not None:
        config = config.model_copy(update={"slots": {}})
    if config.host == "cnn":
        return GrowingHost(config, seed, cnn_parts(widths, classes, input_shape, seed))
    return GrowingHost(config, seed, gpt_parts(config, widths[0], classes, seed))
