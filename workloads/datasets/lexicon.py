"""The words of the story grammar; one list per part of speech.

Changing a list changes every generated text, so it needs a new `grammar.VERSION`.
"""

from __future__ import annotations

from typing import Final


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


SHE_NAMES: Final = _words(
    "Ada Bea Clara Dora Edith Freya Greta Hana Ines June Kira Lena Mara Nora Olga Petra Rosa Tilda"
)
HE_NAMES: Final = _words(
    "Abel Boris Carl Dmitri Emil Felix Goran Hugo Ivan Jonas Karl Leo Milo Nils Otto Pavel Rufus"
    " Tom"
)
ROLES: Final = _words(
    "baker sailor painter doctor farmer tailor miller pilot singer teacher gardener fisher"
)
NOUNS: Final = _words(
    "lantern kite drum key bell boat basket mirror hat coat ladder clock doll whistle spoon bottle"
    " candle map ring feather shell rope bucket flute puzzle wagon scarf lamp vase compass blanket"
    " pillow saddle trumpet telescope umbrella coin stamp button brush pencil notebook teapot"
    " marble anchor magnet helmet ribbon statue mask"
)
SIZES: Final = _words("small big tiny huge long short round flat heavy light thin thick")
COLOURS: Final = _words("red green blue yellow black white brown purple orange pink grey golden")
QUALITIES: Final = _words(
    "old new shiny dusty broken clean wet soft smooth striped wooden paper glass iron silver cheap"
)
PREPOSITIONS: Final = _words("in under behind near beside above")
PLACES: Final = _words(
    "garden bridge barn tower river forest kitchen market castle school harbour mill cellar attic"
    " meadow cave shop church bench fence well stable library tent tunnel pond orchard hill"
)
PLACE_QUALITIES: Final = _words(
    "quiet stone empty dark sunny narrow crowded ancient snowy foggy warm steep hidden painted"
)
MEALS: Final = _words("breakfast lunch supper sunrise sunset school")
DAYS: Final = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
PARTS_OF_DAY: Final = _words("morning afternoon evening night")
FEELINGS: Final = _words(
    "tired happy lonely hungry sad proud bored sorry brave cold curious worried sleepy thirsty"
)
DEGREES: Final = _words("very so rather too")
GROUNDS: Final = _words("road floor sky door roof wind train snow")
STATES: Final = _words("muddy slippery closed loud late blocked rough frozen bright leaking")
MATERIALS: Final = _words(
    "wood wire wool clay wax leather copper straw silk bone cork tin felt marble rubber sand"
)
FOODS: Final = _words("soup bread pie stew cake salad porridge noodles pancakes dumplings")
INGREDIENTS: Final = _words(
    "carrots beans apples onions honey cheese pepper mushrooms cherries plums nuts butter milk rice"
)

# (past, base): how a person comes to have a thing, hides it, gives it away.
GETTING: Final = (("found", "find"), ("bought", "buy"), ("made", "make"), ("won", "win"))
HIDING: Final = (("hid", "hide"), ("left", "leave"), ("lost", "lose"), ("dropped", "drop"))
GIVING: Final = (("gave", "give"), ("sold", "sell"), ("sent", "send"), ("lent", "lend"))
GOING: Final = (("walked", "walk"), ("ran", "run"), ("rode", "ride"), ("sailed", "sail"))
DOING: Final = _words("paint clean visit draw watch repair open climb measure photograph")
