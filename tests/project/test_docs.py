"""The documentation matches the code: its examples run, its links resolve, and nothing public is missing from it."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import nbclient
import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import llm_magic
from llm_magic import Registry, Usage
from llm_magic.jupyter.magics.history import SessionMagics
from llm_magic.jupyter.magics.ledger import LedgerMagics
from llm_magic.jupyter.magics.route import RouteMagics
from llm_magic.ledger.dataframe import FRAME_DTYPES
from llm_magic.providers.base import ProviderRequest
from llm_magic.registry.reading import DERIVED_KEYS
from llm_magic.registry.rules import Then, When
from llm_magic.routing.keywords import markdown_table
from llm_magic.testing import Reply, ScriptedProvider
from llm_magic.types import LongPrompt, ModelSpec, Outcome, Price, ProviderSpec
from scripts.update_docs import updated
from tests.support.kernel import NotebookKernel

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
ALL_MARKDOWN = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def listed(text: str) -> set[str]:
    """The names in backticks in the first cells of a page's tables."""
    return {name for line in re.findall(r"^\| (.*?) \|", text, re.MULTILINE) for name in re.findall(r"`([^`]+)`", line)}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# Examples


def answer(request: ProviderRequest) -> Reply:
    chunks = ("Bonjour ", "le monde.") if request.schema is None else ('{"name": "Ada", ', '"age": 36}')
    return Reply(chunks=chunks, usage=Usage(input_tokens=30, output_tokens=12))


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """An IPython shell whose routers reach scripted models only."""
    scripted = ScriptedProvider(answer)
    monkeypatch.setattr("llm_magic.routing.router.connect", lambda specs: dict.fromkeys(specs, scripted))
    shell = InteractiveShell.instance(colors="nocolor")
    shell.run_line_magic("load_ext", "llm_magic")
    yield shell
    shell.reset()
    shell.run_line_magic("unload_ext", "llm_magic")
    shell.config.pop("RouteMagics", None)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_the_examples_of_a_page_run(path: Path, shell: InteractiveShell, clean_environment: Path) -> None:
    """Every `python` and `ipython` block is a cell of one notebook; a `toml` block becomes the user's models.toml."""
    clean_environment.mkdir()
    for language, code in _BLOCK.findall(path.read_text("utf-8")):
        if language == "toml":
            (clean_environment / "models.toml").write_text(code)
            models = tomllib.loads(code).get("models", {})
            loaded = {model.id for model in Registry.load()}
            assert loaded >= {name for name, table in models.items() if table.get("enabled", True)}
        elif language in ("python", "ipython"):
            with capture_output() as captured:
                result = shell.run_cell(code)
            assert result.success, f"{path.name}:\n{code}\n{captured.stdout}{captured.stderr}"


def test_the_first_python_example_prints_what_the_models_answered(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    (code, *_) = (code for language, code in _BLOCK.findall(page("python-api.md")) if language == "python")
    assert shell.run_cell(code).success
    printed = capsys.readouterr().out
    assert "COMPLEX ['claude-opus-5-5'" in printed
    assert "Bonjour le monde. gpt-6-luna BULK" in printed


# Completeness


@pytest.mark.parametrize("path", ALL_MARKDOWN, ids=name_of)
def test_relative_links_lead_somewhere(path: Path) -> None:
    for target in _LINK.findall(path.read_text("utf-8")):
        file, _, anchor = target.partition("#")
        if "://" in target:
            continue
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text("utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, target


@pytest.mark.parametrize("path", ALL_MARKDOWN, ids=name_of)
def test_files_named_in_the_docs_exist(path: Path) -> None:
    """Paths in backticks that begin with a folder of the project; `acme` stands for a new file."""
    named = re.findall(r"`((?:llm_magic|tests|docs|notebooks|scripts|benchmarks)/[\w./-]*)`", path.read_text("utf-8"))
    assert [name for name in named if "acme" not in name and not (ROOT / name).exists()] == []


def test_the_recipe_for_a_column_states_no_version_that_gets_old() -> None:
    recipe = (ROOT / "CONTRIBUTING.md").read_text("utf-8").split("### Add a ledger column")[1].split("\n### ")[0]
    assert "`VERSION`" in recipe
    assert re.findall(r"since=\d|VERSION = \d", recipe) == []


def test_the_architecture_lists_layers_in_the_order_of_the_contract() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"][0]
    layers = [set(re.findall(r"\w+", layer)) for layer in contract["layers"]]
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    chain = text.split("## Direction of imports")[1].split("```")[1]
    listed_layers = [set(re.findall(r"\w+", names)) for names in chain.split("→")]
    assert listed_layers == [layer - {"__main__", "testing"} for layer in layers if layer != {"__main__"}]


def test_every_page_is_in_the_index() -> None:
    for path in DOCS.glob("*.md"):
        assert path.name == "README.md" or f"]({path.name})" in page("README.md"), path.name
    for path in (DOCS / "decisions").glob("0*.md"):
        assert f"]({path.name})" in page("decisions/README.md"), path.name


def test_every_magic_is_documented() -> None:
    for kind in (RouteMagics, SessionMagics, LedgerMagics):
        for name in {name for magics in kind.magics.values() for name in magics}:
            assert f"`%{name}" in page("options.md"), name


def test_every_option_of_a_cell_is_documented() -> None:
    options = set(re.findall(r"(--[a-z-]+)", RouteMagics.route.__doc__ or ""))
    assert len(options) > 20
    for option in options - {"--no-cache", "--no-cache-prefix", "--no-flex"}:
        assert f"`{option}" in page("options.md"), option


def test_the_generated_table_of_options_is_up_to_date() -> None:
    assert page("options.md") == updated(page("options.md")), "run `make docs`"
    assert markdown_table() in page("options.md")


def test_every_setting_is_documented() -> None:
    settings = RouteMagics.class_traits(config=True)
    assert settings.keys() >= {"profile", "quality"}
    assert settings.keys() <= listed(page("options.md"))


def test_every_ledger_column_is_documented() -> None:
    assert FRAME_DTYPES.keys() <= listed(page("caps-and-ledger.md"))


def test_every_outcome_of_a_row_is_documented() -> None:
    paths_only = {Outcome.SKIPPED, Outcome.RUNNING}
    text = page("caps-and-ledger.md") + page("errors.md")
    assert [outcome for outcome in Outcome if outcome not in paths_only and f"`{outcome.value}`" not in text] == []


def test_every_public_error_is_documented() -> None:
    public = {
        name
        for name in llm_magic.__all__
        if isinstance(value := getattr(llm_magic, name), type) and issubclass(value, llm_magic.LLMMagicError)
    }
    assert public <= listed(page("errors.md"))


@pytest.mark.parametrize("record", [ModelSpec, ProviderSpec, Price, LongPrompt, When, Then])
def test_every_key_of_models_toml_is_documented(record: type) -> None:
    keys = {field.name for field in dataclasses.fields(record)} - {"id", "name", *DERIVED_KEYS}
    assert [key for key in keys if f"`{key}`" not in page("own-models.md")] == []


def test_every_environment_variable_is_documented() -> None:
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "llm_magic").rglob("*.py"))
    variables = set(re.findall(r"\"(LLM_MAGIC_[A-Z_]+)\"", sources))
    for spec in Registry.load().providers.values():
        variables |= {name for name in (spec.api_key_env, spec.base_url_env) if name is not None}
    assert variables >= {"LLM_MAGIC_HOME", "OPENAI_API_KEY"}
    assert variables <= listed(page("options.md"))


def test_every_package_is_in_the_architecture() -> None:
    modules = [
        path for path in (ROOT / "llm_magic").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    ]
    names = {path.name + "/" * path.is_dir() for path in modules} - {"__init__.py"}
    table = (ROOT / "ARCHITECTURE.md").read_text("utf-8").split("## Packages")[1].split("\n## ")[0]
    assert listed(table) == names


def test_the_readme_and_the_architecture_are_short() -> None:
    for name in ("README.md", "ARCHITECTURE.md"):
        assert len((ROOT / name).read_text("utf-8").splitlines()) <= 120, name


# Notebooks

NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
EMBEDDED = ("columns.ipynb", "quickstart.ipynb")
"""The notebooks that run on the embedded model."""


@pytest.mark.kernel
@pytest.mark.parametrize("name", [name for name in NOTEBOOKS if name not in EMBEDDED])
def test_the_scripted_notebooks_run_and_send_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(name, monkeypatch, tmp_path)


@pytest.mark.kernel
@pytest.mark.parametrize("name", EMBEDDED)
def test_the_notebooks_on_the_embedded_model_run(
    name: str, smollm2: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LLM_MAGIC_LOCAL", "1")
    monkeypatch.setenv("LLM_MAGIC_LOCAL_MODEL", str(smollm2))
    run(name, monkeypatch, tmp_path)


def run(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "committed without outputs"
    nbclient.NotebookClient(notebook, kernel_name="python3", kernel_manager_class=NotebookKernel, timeout=300).execute()
