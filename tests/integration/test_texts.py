"""Texts of messages: the person's language, an operator's own words, and both languages whole."""

import pytest

from service.domain.errors import SetupError
from service.notifications.model import CODE, RECOVERY_CODE
from service.notifications.texts.templates import Texts
from tests.messages import TEXTS, message


@pytest.mark.parametrize(
    ("locale", "said"),
    [
        ("zh", "验证码"),
        ("zh-CN", "验证码"),
        ("zh_Hans_SG", "验证码"),
        ("en-GB", "your code"),
        ("de-AT", "your code"),
        ("", "your code"),
        ("x" * 35, "your code"),
    ],
)
def test_the_language_is_the_persons(locale, said):
    """The nearest that there is, else the one that was set."""
    assert said.lower() in TEXTS.of(message(locale=locale)).body.lower()
    assert TEXTS.of(message(locale=locale)).sms.count("12345678") == 1


def test_an_operators_texts_take_the_place_of_ours(tmp_path):
    """One kind in one language, or a language of its own; what is not said stays as it was."""
    entry = '["identifier.verification"]\nsubject = "{0}"\nbody = "{0} $code"\nsms = "{0} $code"\n'
    (tmp_path / "en.toml").write_text(entry.format("Yours for $$1"))
    (tmp_path / "de.toml").write_text(entry.format("Ihr Code"))
    texts = Texts("Bank", "de", tmp_path)
    assert texts.of(message(locale="en")).subject == "Yours for $1"
    assert texts.of(message(locale="de-AT")).body == "Ihr Code 12345678"
    assert texts.of(message(locale="fr")).subject == "Ihr Code"
    assert "suspended" in texts.of(message("subject.suspended", locale="de")).subject
    assert "changed" in texts.of(message("something.new")).body


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("en", "=", "is not TOML"),
        ("English!", "", "language"),
        ("en", "[nothing]", "nothing"),
        ("en", '["alarm"]\nsubject = "x"', "body sms subject"),
        ("en", '["alarm"]\nsubject = "$password"\nbody = "x"\nsms = "x"', "$password"),
        ("en", '["alarm"]\nsubject = "5 $"\nbody = "x"\nsms = "x"', "$$"),
        ("en", "fields = 3", "fields"),
        ("en", '["fields"]\nemail = 3', "fields"),
        ("en", '["alarm"]\nsubject = " "\nbody = "x"\nsms = "x"', "alarm.subject"),
    ],
)
def test_texts_that_cannot_be_stop_the_start(tmp_path, name, text, said):
    """The error names the file and what to mend."""
    (tmp_path / f"{name}.toml").write_text(text)
    with pytest.raises(SetupError) as refused:
        Texts("Bank", "en", tmp_path)
    assert said in refused.value.detail
    assert f"{name}.toml" in refused.value.detail


def test_both_languages_say_all_of_it():
    """Every kind has a text of its own in each language, and a language that is not there says."""
    kinds = {
        CODE,
        "identifier.claimed",
        "identifier.changed",
        "identifier.lapsed",
        "subject.suspended",
        "authenticator.enrolled",
        "authenticator.revoked",
        "subject.export_requested",
        "subject.recovery_asked",
        "subject.recovery_approved",
        RECOVERY_CODE,
        "subject.recovery_stopped",
        "subject.recovered",
    }
    for locale in ("en", "zh-Hans"):
        texts = [TEXTS.of(message(kind, locale=locale, field="email")) for kind in sorted(kinds)]
        assert len({text.subject for text in texts}) == len(kinds)
        assert all(text.body and text.sms and "$" not in text.body for text in texts)
    with pytest.raises(SetupError) as refused:
        Texts("Bank", "tlh")
    assert "LAMINA_LANGUAGE" in refused.value.detail
