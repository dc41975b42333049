"""A seeded grammar of short stories and of questions whose answers stand in the text.

A story has a small cast and some scenes. A scene is two sentences; each question about it is
answered by a span of it. Everything about story `index` of a stream follows from
(seed, stream, index) through one hash, so any story can be made alone, in any order, for ever.

The stream `PRETRAINING` is the one that the embedded model is trained on. It never joins a
quality and a noun that are `held_out`; the other streams do, so that their questions ask for
combinations which the model has not seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeVar

from workloads.datasets import lexicon

VERSION: Final = 1
PRETRAINING: Final = "pretraining"

_T = TypeVar("_T")


@dataclass(frozen=True)
class Question:
    """A question about a scene and its one answer, a span of the scene's text."""

    kind: str
    text: str
    answer: str


@dataclass(frozen=True)
class Scene:
    """Two sentences and all questions that can be asked about them."""

    text: str
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class Story:
    """Scenes that share a cast. `text` also has the sentences that look back between scenes."""

    id: str
    text: str
    scenes: tuple[Scene, ...]


class Draws:
    """Choices read from the SHAKE-128 stream of a key: the same key, the same choices."""

    _BYTES: Final = 4096

    def __init__(self, key: str) -> None:
        self._stream = hashlib.shake_128(key.encode()).digest(self._BYTES)
        self._at = 0

    def below(self, limit: int) -> int:
        """An integer in [0, limit); its bias is under limit / 2^32."""
        word = self._stream[self._at : self._at + 4]
        if len(word) < 4:
            raise RuntimeError("a story draws more choices than Draws holds")
        self._at += 4
        return int.from_bytes(word, "little") % limit

    def pick(self, options: Sequence[_T]) -> _T:
        """One of the options."""
        return options[self.below(len(options))]

    def several(self, options: Sequence[_T], count: int) -> list[_T]:
        """`count` different options, in random order."""
        left = list(options)
        return [left.pop(self.below(len(left))) for _ in range(count)]


@cache
def held_out(quality: str, noun: str) -> bool:
    """Whether this pair is kept from the pretraining stream (one pair in six is)."""
    return hashlib.sha256(f"{quality} {noun}".encode()).digest()[0] % 6 == 0


@dataclass(frozen=True)
class _Person:
    name: str
    he: str

    @property
    def starts(self) -> str:
        return self.he.capitalize()


@dataclass(frozen=True)
class _Thing:
    phrase: str
    noun: str

    @property
    def with_article(self) -> str:
        return f"{'an' if self.phrase[0] in 'aeiou' else 'a'} {self.phrase}"


class _Teller:
    """Draws the parts of a story's sentences."""

    def __init__(self, draws: Draws, *, keep_held_out: bool) -> None:
        self.draws = draws
        self._keep_held_out = keep_held_out
        she = [_Person(name, "she") for name in lexicon.SHE_NAMES]
        he = [_Person(name, "he") for name in lexicon.HE_NAMES]
        self.cast = draws.several(she + he, 3)
        self.told: list[tuple[_Person, _Thing]] = []

    def two_people(self) -> tuple[_Person, _Person]:
        first, second = self.draws.several(self.cast, 2)
        return first, second

    def two_things(self) -> tuple[_Thing, _Thing]:
        first, second = self.draws.several(lexicon.NOUNS, 2)
        return self.thing(first), self.thing(second)

    def thing(self, noun: str | None = None) -> _Thing:
        chosen = noun or self.draws.pick(lexicon.NOUNS)
        kinds = (lexicon.SIZES, lexicon.QUALITIES, lexicon.COLOURS)
        first = self.draws.below(3)
        words = [self._quality(kinds[first], chosen)]
        if first < 2 and self.draws.below(5) < 3:
            words.append(self._quality(kinds[2], chosen))
        return _Thing(" ".join([*words, chosen]), chosen)

    def _quality(self, kind: Sequence[str], noun: str) -> str:
        allowed = [word for word in kind if self._keep_held_out or not held_out(word, noun)]
        return self.draws.pick(allowed)

    def place(self) -> str:
        words = [self.draws.pick(lexicon.PREPOSITIONS), "the"]
        if self.draws.below(3) < 2:
            words.append(self.draws.pick(lexicon.PLACE_QUALITIES))
        return " ".join([*words, self.draws.pick(lexicon.PLACES)])

    def time(self) -> str:
        if self.draws.below(2):
            return f"{self.draws.pick(('before', 'after'))} {self.draws.pick(lexicon.MEALS)}"
        return f"on {self.draws.pick(lexicon.DAYS)} {self.draws.pick(lexicon.PARTS_OF_DAY)}"

    def reason(self, person: _Person) -> str:
        if self.draws.below(2):
            degree, feeling = self.draws.pick(lexicon.DEGREES), self.draws.pick(lexicon.FEELINGS)
            return f"{person.he} felt {degree} {feeling}"
        return f"the {self.draws.pick(lexicon.GROUNDS)} was {self.draws.pick(lexicon.STATES)}"


def _giving(tell: _Teller) -> Scene:
    giver, taker = tell.two_people()
    thing, place, time = tell.thing(), tell.place(), tell.time()
    got, get = tell.draws.pick(lexicon.GETTING)
    gave, give = tell.draws.pick(lexicon.GIVING)
    reason = tell.reason(giver)
    tell.told.append((taker, thing))
    late = tell.draws.below(2) == 0
    second = f"{time} " if late else ""
    first = "" if late else f" {time}"
    when = f"When did {giver.name} {give if late else get} the {thing.noun}?"
    return Scene(
        f"{giver.name} {got} {thing.with_article} {place}{first}. "
        f"{giver.starts} {gave} it to {taker.name} {second}because {reason}.",
        (
            Question("what", f"What did {giver.name} {get}?", thing.phrase),
            Question("where", f"Where did {giver.name} {get} the {thing.noun}?", place),
            Question("who", f"Who {got} the {thing.noun}?", giver.name),
            Question("who", f"Who did {giver.name} {give} the {thing.noun} to?", taker.name),
            Question("when", when, time),
            Question("why", f"Why did {giver.name} {give} the {thing.noun}?", reason),
        ),
    )


def _hiding(tell: _Teller) -> Scene:
    people = tell.two_people()
    things, places = tell.two_things(), (tell.place(), tell.place())
    verbs = tell.draws.several(lexicon.HIDING, 2)
    sentences, questions = [], []
    for person, thing, place, (past, base) in zip(people, things, places, verbs, strict=True):
        sentences.append(f"{person.name} {past} {thing.with_article} {place}.")
        questions += [
            Question("what", f"What did {person.name} {base}?", thing.phrase),
            Question("where", f"Where is the {thing.noun}?", place),
            Question("where", f"Where did {person.name} {base} the {thing.noun}?", place),
            Question("who", f"Who {past} the {thing.noun}?", person.name),
        ]
    tell.told.append((people[1], things[1]))
    return Scene(" ".join(sentences), tuple(questions))


def _trading(tell: _Teller) -> Scene:
    (first, second), (given, taken) = tell.two_people(), tell.two_things()
    place, time = tell.place(), tell.time()
    tell.told.append((first, taken))
    return Scene(
        f"{first.name} traded {given.with_article} for {taken.with_article} with {second.name}. "
        f"They met {place} {time}.",
        (
            Question("what", f"What did {first.name} get?", taken.phrase),
            Question("what", f"What did {second.name} get?", given.phrase),
            Question("who", f"Who has the {given.noun} now?", second.name),
            Question("who", f"Who has the {taken.noun} now?", first.name),
            Question("where", f"Where did {first.name} and {second.name} meet?", place),
            Question("when", f"When did {first.name} and {second.name} meet?", time),
        ),
    )


def _travel(tell: _Teller) -> Scene:
    first, second = tell.two_people()
    went, go = tell.draws.pick(lexicon.GOING)
    time, thing, place = tell.time(), tell.thing(), tell.place()
    goal = f"{tell.draws.pick(lexicon.DOING)} the {thing.phrase}"
    reason = tell.reason(second)
    return Scene(
        f"{first.name} {went} to {goal} {place} {time}. "
        f"{second.name} stayed home because {reason}.",
        (
            Question("why", f"Why did {first.name} {go}?", f"to {goal}"),
            Question("why", f"Why did {second.name} stay home?", reason),
            Question("who", "Who stayed home?", second.name),
            Question("who", f"Who {went} to see the {thing.noun}?", first.name),
            Question("when", f"When did {first.name} {go}?", time),
            Question("where", f"Where was the {thing.noun}?", place),
        ),
    )


def _making(tell: _Teller) -> Scene:
    first, second = tell.two_people()
    role, other = tell.draws.several(lexicon.ROLES, 2)
    thing, time = tell.thing(), tell.time()
    stuff = " and ".join(tell.draws.several(lexicon.MATERIALS, 2))
    tell.told.append((second, thing))
    return Scene(
        f"{first.name} the {role} built {thing.with_article} from {stuff}. "
        f"{second.name} the {other} took it {time}.",
        (
            Question("stuff", f"What was the {thing.noun} built from?", stuff),
            Question("what", f"What did {first.name} build?", thing.phrase),
            Question("what", f"What did {second.name} take?", thing.phrase),
            Question("who", f"Who is the {role}?", first.name),
            Question("who", f"Who took the {thing.noun}?", second.name),
            Question("when", f"When did {second.name} take the {thing.noun}?", time),
        ),
    )


def _cooking(tell: _Teller) -> Scene:
    cook, guest = tell.two_people()
    food, place, time = tell.draws.pick(lexicon.FOODS), tell.place(), tell.time()
    stuff = " and ".join(tell.draws.several(lexicon.INGREDIENTS, 2))
    feeling = f"{tell.draws.pick(lexicon.DEGREES)} {tell.draws.pick(lexicon.FEELINGS)}"
    return Scene(
        f"{cook.name} cooked {food} with {stuff} {place}. "
        f"{guest.name} ate it {time} and felt {feeling}.",
        (
            Question("what", f"What did {cook.name} cook?", f"{food} with {stuff}"),
            Question("stuff", f"What was in the {food}?", stuff),
            Question("where", f"Where did {cook.name} cook?", place),
            Question("who", f"Who ate the {food}?", guest.name),
            Question("when", f"When did {guest.name} eat the {food}?", time),
            Question("how", f"How did {guest.name} feel?", feeling),
        ),
    )


_SCENES: Final[tuple[Callable[[_Teller], Scene], ...]] = (
    _giving,
    _hiding,
    _trading,
    _travel,
    _making,
    _cooking,
)


def _looking_back(tell: _Teller) -> str:
    person, thing = tell.draws.pick(tell.told)
    return tell.draws.pick(
        (
            f"{person.name} still had the {thing.phrase}.",
            f"Everyone liked the {thing.phrase} of {person.name}.",
            f"Nobody could find the {thing.phrase} of {person.name}.",
        )
    )


def story(seed: int, stream: str, index: int, scenes: int = 4) -> Story:
    """Story `index` of a stream.

    The id names the stream and index; two streams, or two indices, never share an id.
    """
    draws = Draws(f"story/{VERSION}/{seed}/{stream}/{index}")
    tell = _Teller(draws, keep_held_out=stream != PRETRAINING)
    kinds = draws.several(_SCENES, scenes)
    told: list[Scene] = []
    text: list[str] = []
    for kind in kinds:
        scene = kind(tell)
        told.append(scene)
        text.append(scene.text)
        if tell.told:
            text.append(_looking_back(tell))
    return Story(f"{stream}-{seed}-{index}", " ".join(text), tuple(told))


def asked(seed: int, of: Story) -> tuple[tuple[Scene, Question], ...]:
    """One question for each scene of a story: what the question sets are made of."""
    draws = Draws(f"asked/{VERSION}/{seed}/{of.id}")
    return tuple((scene, draws.pick(scene.questions)) for scene in of.scenes)
