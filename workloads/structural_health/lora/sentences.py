"""What the model is fine-tuned on: 50 sentences, ten on each of five topics.

Most words are such as the embedded models know whole: their tokenizer makes 12 tokens of a
sentence on average, and at most 17.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

TOPICS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "kitchen": (
            "Ada cooked soup with carrots and onions for supper.",
            "Hugo ate plums and nuts before breakfast.",
            "Rosa cooked pancakes with honey and milk on Sunday morning.",
            "Emil left a spoon in the cold stew.",
            "They bought cheese, apples and rice in the crowded market.",
            "Nobody liked the salad because it was too cold.",
            "Tom the baker was very proud of the round cake.",
            "Greta ate bread with butter and felt so happy.",
            "Nils found a clean bottle near the kitchen door.",
            "Hana gave the small teapot to Olga before lunch.",
        ),
        "harbour": (
            "Otto the sailor sailed from the harbour to the old castle.",
            "Lena lost a long rope in the foggy harbour.",
            "Ivan painted the small boat white and blue.",
            "Pavel the fisher met Kira near the river at sunset.",
            "The anchor was heavy and rough.",
            "When did the white boat leave the harbour?",
            "June walked to the river to measure the new bridge.",
            "Karl sold the leaking boat to a sailor on Monday.",
            "Felix still had the iron compass of Clara.",
            "They could see the tower from the boat at night.",
        ),
        "lost things": (
            "Mara hid a small key under the blue pillow.",
            "Felix found a silver coin behind the church.",
            "Bea dropped a black hat in the muddy pond.",
            "Carl lost the striped umbrella on Friday and found it on Sunday.",
            "Who left the wet scarf in the library?",
            "Nora could not open the door because she had lost the key.",
            "Nobody could find the golden ring of Petra.",
            "Abel left an old lamp and a broken clock in the attic.",
            "Edith sent the map to Goran but hid the compass.",
            "Where is the red kite now?",
        ),
        "weather": (
            "It was foggy in the forest and sunny above the hill.",
            "Dora stayed home because the snow was too wet.",
            "The road was slippery, so the train was late.",
            "Leo felt cold and took a thick wool coat.",
            "After sunset the sky was dark and the wind was rough.",
            "Everyone stayed home because the bridge was closed.",
            "Tilda walked to the frozen pond on Tuesday morning.",
            "Rufus still had a warm blanket for the night.",
            "The garden was green and the river was bright.",
            "Boris ran from the rain to the empty barn.",
        ),
        "work": (
            "Petra the painter bought a new brush and a yellow pencil.",
            "Dmitri the tailor sold a brown coat to the singer.",
            "Tom built a ladder of wood and iron.",
            "Freya the doctor rode to the castle on Thursday night.",
            "Goran drew the ancient tower with a black pencil.",
            "Milo the gardener took a clean bucket from the shop.",
            "Olga repaired the trumpet and the big drum for the school.",
            "Karl the miller was tired and felt rather bored.",
            "Ines the teacher lent the notebook to Hana after school.",
            "Hugo made a wooden doll, and Ada painted it.",
        ),
    }
)
"""Topic -> its sentences."""

SENTENCES: Final[tuple[str, ...]] = tuple(one for topic in TOPICS.values() for one in topic)
"""All sentences, topic after topic."""
