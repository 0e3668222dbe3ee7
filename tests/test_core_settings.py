"""Settings: the environment wins over the file, and a mistake is named where it stands."""

from pathlib import Path

import msgspec
import pytest

from tradepost.core.settings import BadSettings, BadVariable, Settings, load_settings, parse
from tradepost.flows.preset import Process, StoreSettings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tradepost.toml"


def fault_of(text: str, into: type[msgspec.Struct] = Settings) -> tuple[int, str]:
    """Return the line and the problem that a file is refused for."""
    with pytest.raises(BadSettings) as refusal:
        parse(text, "shop.toml", into)
    assert refusal.value.path == "shop.toml"
    assert refusal.value.message == f"shop.toml:{refusal.value.line}: {refusal.value.problem}"
    return refusal.value.line, refusal.value.problem


def test_without_a_file_and_an_environment_everything_has_a_default(file: Path) -> None:
    assert load_settings(file, {}) == Settings()
    assert load_settings(None, {}) == Settings()
    assert Settings().stores == ("tese", "souk-loop", "shop-assistant", "marketplace-watch", "omade")


def test_a_file_sets_what_it_names_and_leaves_the_rest(file: Path) -> None:
    file.write_text('stores = ["omade"]\n[http]\nport = 9000\n')
    settings = load_settings(file, {})
    assert settings.stores == ("omade",)
    assert settings.http.port == 9000
    assert settings.http.host == "127.0.0.1"
    assert settings.database == Settings().database


def test_the_environment_wins_over_the_file(file: Path) -> None:
    file.write_text('stores = ["omade"]\n[database]\nurl = "postgresql://file"\npool_size = 3\n')
    environment = {
        "TRADEPOST_DATABASE__URL": "postgresql://environment",
        "TRADEPOST_HTTP__PORT": "9000",
        "TRADEPOST_STORES": "tese, souk-loop,",
        "TRADEPOST_SECRET_KEY": "s3cret",
    }
    settings = load_settings(file, environment)
    assert settings.database.url == "postgresql://environment"
    assert settings.database.pool_size == 3
    assert settings.http.port == 9000
    assert settings.stores == ("tese", "souk-loop")
    assert settings.secret_key == "s3cret"


def test_variables_that_are_no_settings_are_left_alone() -> None:
    environment = {"TRADEPOST_HOME": "/srv/shop", "TRADEPOST_CHROMIUM": "/bin/false", "PORT": "1", "HTTP__PORT": "2"}
    assert load_settings(None, environment) == Settings()


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("TRADEPOST_HTTP__PROT", "9000", "there is no such setting"),
        ("TRADEPOST_HTPT__PORT", "9000", "there is no such setting"),
        ("TRADEPOST_HTTP", "9000", "there is no such setting"),
        ("TRADEPOST_STORES__FIRST", "tese", "there is no such setting"),
        ("TRADEPOST_HTTP__PORT", "web", "expected `int`, got `str`"),
        ("TRADEPOST_HTTP__PORT", "70000", "expected `int` <= 65535"),
        ("TRADEPOST_LOG__FORMAT", "xml", "invalid enum value 'xml'"),
    ],
)
def test_a_wrong_variable_is_named(file: Path, variable: str, value: str, problem: str) -> None:
    file.write_text("[http]\nport = 8001\n")
    with pytest.raises(BadVariable) as refusal:
        load_settings(file, {variable: value, "TRADEPOST_HTTP__HOST": "127.0.0.2"})
    assert (refusal.value.variable, refusal.value.problem) == (variable, problem)
    assert variable in refusal.value.message


def test_a_variable_does_not_make_the_file_less_strict(file: Path) -> None:
    file.write_text('[http]\nport = "9000"\n')
    with pytest.raises(BadSettings) as refusal:
        load_settings(file, {"TRADEPOST_HTTP__HOST": "127.0.0.2"})
    assert refusal.value.line == 2


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("\ncolour = 3\n", 2, "there is no setting “colour”"),
        ("[http]\nhost = 'a'\nprot = 1\n", 3, "there is no setting “prot” in [http]"),
        ("[log]\nlevel = 'info'\n\n[http]\nlevel = 'info'\n", 5, "there is no setting “level” in [http]"),
        ("[http]\nport = 1\n[http.tls]\n", 3, "there is no setting “tls” in [http]"),
        ("stores = ['a']\n\nhttp.prot = 1\n", 3, "there is no setting “prot” in [http]"),
        ("\nhttp = { prot = 1 }\n", 2, "there is no setting “prot” in [http]"),
        ("\n[http]\n\nport = 'web'\n", 4, "expected `int`, got `str` - at `$.http.port`"),
        ("[http]\nport = 0\n", 2, "expected `int` >= 1 - at `$.http.port`"),
        ("\nhttp = 3\n", 2, "expected `object`, got `int` - at `$.http`"),
        ("[log]\nlevel = 'loud'\n", 2, "invalid enum value 'loud' - at `$.log.level`"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, line: int, problem: str) -> None:
    assert fault_of(text) == (line, problem)


def test_what_is_not_toml_is_named_with_its_line() -> None:
    line, problem = fault_of("stores = ['a']\n[http\nport = 1\n")
    assert line == 2
    assert problem.startswith("this is not TOML: ")


def test_a_repeated_section_is_told_apart_from_its_brothers() -> None:
    process = """
name = "purchase"
kind = "order"
initial = "pending"

[[states]]
code = "pending"
name = "Waiting"

[[states]]
code = "done"
name = "Done"
tone = "splendid"

[[transitions]]
from = "pending"
to = "done"
by = ["system"]
"""
    assert fault_of(process, Process) == (13, "invalid enum value 'splendid' - at `$.states[1].tone`")


def test_a_missing_key_names_its_section() -> None:
    line, problem = fault_of('[store]\ncode = "x"\n', StoreSettings)
    assert (line, problem) == (1, "object missing required field `name` - at `$.store`")


def test_a_store_may_have_keys_of_its_own_in_the_file_and_in_the_environment(file: Path) -> None:
    file.write_text(
        '[stripe]\nsecret_key = "sk_all"\nwebhook_secret = "whsec_all"\n[store.tese.stripe]\nwebhook_secret = "whsec_tese"\n'
    )
    settings = load_settings(file, {"TRADEPOST_STORE__SOUK_LOOP__PAYNOW__INTEGRATION_KEY": "k"})
    tese = settings.store["tese"].stripe.over(settings.stripe)
    assert (tese.secret_key, tese.webhook_secret) == ("sk_all", "whsec_tese")
    assert settings.store["souk-loop"].paynow.integration_key == "k"
    assert settings.store["souk-loop"].stripe.over(settings.stripe) == settings.stripe


def test_keys_of_a_store_that_is_not_there_are_an_error(file: Path) -> None:
    file.write_text('stores = ["tese"]\n[log]\nlevel = "info"\n[store.tesse.stripe]\nsecret_key = "x"\n')
    with pytest.raises(BadSettings) as refusal:
        load_settings(file, {})
    assert (refusal.value.line, refusal.value.problem) == (4, "there is no store “tesse” to have keys of its own")
    with pytest.raises(BadVariable):
        load_settings(None, {"TRADEPOST_STORE__TESE__STRIPE__SECRET": "x"})


def test_secrets_are_not_printed() -> None:
    environment = {
        "TRADEPOST_STRIPE__SECRET_KEY": "sk_live_hush",
        "TRADEPOST_STORE__TESE__PAYNOW__INTEGRATION_KEY": "hush-hush",
    }
    settings = load_settings(None, environment)
    assert "hush" not in f"{settings} {settings!r}"
    assert "StripeSettings(secret_key)" in repr(settings)
