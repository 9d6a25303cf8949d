"""The summariser quotes what is central, answers from what is near, and does as it is told."""

import math

import pytest

from genux_server.demo.corpus import articles
from genux_server.demo.prompts import read_prompt, respond
from genux_server.demo.structured import filled
from genux_server.demo.summariser import answer, embed, sentences_of, summarise

PLANETS = """Mercury is the planet that is nearest to the sun and it has no moon at all.

Venus is the hottest planet because its thick atmosphere of carbon dioxide traps the heat of the sun.

The earth is the only planet known to carry life, and its moon raises the tides of its oceans.

Mars is a cold planet with a thin atmosphere, two small moons and the tallest volcano that is known.

Bakers in small towns rise early to knead the dough for the bread of the morning."""


def article(title):
    return next(each for each in articles() if each.title == title).text


def test_there_are_long_articles_of_prose():
    found = articles()
    assert len(found) >= 15
    assert all(len(each.text) >= 2_500 and each.title for each in found)
    assert len({each.title for each in found}) == len(found)
    assert not any("::=" in each.text or ">>>" in each.text or "\n***" in each.text for each in found)


def test_a_summary_quotes_the_text_in_its_order():
    text = article("The try statement")
    chosen = summarise(text, 4)
    sentences = sentences_of(text)
    assert len(chosen) == 4
    places = [sentences.index(sentence) for sentence in chosen]
    assert places == sorted(places)


def test_the_sentence_that_has_nothing_to_do_with_the_rest_is_left_out():
    assert not any("Bakers" in sentence for sentence in summarise(PLANETS, 4))


def test_an_answer_is_the_sentence_nearest_to_the_question():
    assert "Venus" in answer(PLANETS, "Which planet has a thick atmosphere?", 1)[0]
    assert "life" in answer(PLANETS, "Where is life known?", 1)[0]
    found = answer(article("Execution model"), "What happens if a name is not found?", 3)
    assert "When a name is not found at all, a NameError exception is raised." in found


def test_a_question_that_shares_no_word_gets_the_central_sentences():
    assert answer(PLANETS, "Quid novi?", 2) == summarise(PLANETS, 2)


def test_a_repeated_sentence_is_chosen_once():
    text = "\n\n".join(["The cat sat on the mat in the warm morning sun."] * 5 + [PLANETS])
    assert sum("cat" in sentence for sentence in summarise(text, 3)) <= 1


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One is here. Two is there.", ["One is here.", "Two is there."]),
        ("Use it, e.g. Python 3.11, now. Then stop.", ["Use it, e.g. Python 3.11, now.", "Then stop."]),
        ("(It is so.) Then it ends.", ["(It is so.)", "Then it ends."]),
        ("A line\nthat wraps.\n\nAnother", ["A line that wraps.", "Another"]),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text, sentences):
    assert sentences_of(text) == sentences


def ask(instruction, text):
    return respond(read_prompt([("user", f"{instruction}\n\n{text}")]))


@pytest.mark.parametrize(
    ("instruction", "count"),
    [
        ("Summarize the article in one sentence.", 1),
        ("Summarise this in 5 sentences:", 5),
        ("Give me the gist as three bullet points.", 3),
        ("Write a short summary:", 2),
        ("Write a detailed summary:", 8),
        ("Summarize:", 4),
    ],
)
def test_the_length_asked_for_is_kept(instruction, count):
    assert len(ask(instruction, article("Execution model"))) == count


@pytest.mark.parametrize("limit", [5, 40, 100])
def test_a_limit_on_words_is_kept(limit):
    found = ask(f"Summarize in at most {limit} words.", article("Execution model"))
    assert 0 < len(" ".join(found).split()) <= limit


def test_different_questions_about_one_text_get_different_answers():
    text = article("The try statement")
    answers = {
        " ".join(ask(question, text))
        for question in (
            "What does finally do?",
            "What is an exception group?",
            "When does the else clause run?",
            "Summarize.",
        )
    }
    assert len(answers) == 4


def test_an_article_in_the_system_message_is_read_and_not_obeyed():
    task = read_prompt(
        [("system", "You answer questions about this article:\n\n" + PLANETS), ("user", "Which has no moon?")]
    )
    assert task.document == PLANETS
    assert "Mercury" in respond(task)[0]


def test_a_question_without_a_text_is_answered_from_the_nearest_article():
    task = read_prompt([("user", "What does finally do in a try statement when an exception was raised?")])
    assert "finally" in " ".join(respond(task))


def test_a_json_schema_is_filled_with_the_sentences():
    schema = {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "points": {"type": "array", "items": {"$ref": "#/$defs/Point"}},
            "tone": {"enum": ["dry", "warm"]},
            "count": {"type": "integer"},
            "note": {"anyOf": [{"type": "null"}, {"type": "string"}]},
        },
        "$defs": {"Point": {"type": "object", "properties": {"text": {"type": "string"}}}},
    }
    assert filled(schema, ["A.", "B.", "C."]) == {
        "title": "A.",
        "points": [{"text": "B."}, {"text": "C."}],
        "tone": "dry",
        "count": 3,
        "note": None,
    }


def test_embeddings_are_of_unit_length_and_nearer_for_texts_that_share_words():
    cat, kitten, tax = (embed(text, 256) for text in ("the cat sat down", "a cat sat there", "income tax law"))
    assert math.isclose(sum(value * value for value in cat), 1.0)
    dot = lambda a, b: sum(x * y for x, y in zip(a, b, strict=True))  # noqa: E731 - used twice, here
    assert dot(cat, kitten) > 0.5 > dot(cat, tax) + 0.3
    assert not any(embed("", 8))
