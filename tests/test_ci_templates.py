"""The templates of docs/ci: valid for those who read them, and their commands do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml
from sim_images import build

ROOT = Path(__file__).parent.parent
ACTION = ROOT / "docs" / "ci" / "github" / "action.yml"
GITLAB = ROOT / "docs" / "ci" / "ebnn.gitlab-ci.yml"
GUIDE = ROOT / "docs" / "ci" / "README.md"

_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT, "minItems": 1}

# After GitHub's "Metadata syntax reference": what a composite action may hold. Composite steps
# have no default shell, and inputs no type: all are strings.
_ACTION_SCHEMA = {
    "type": "object",
    "required": ["name", "description", "runs"],
    "additionalProperties": False,
    "properties": {
        "name": _TEXT,
        "author": _TEXT,
        "description": _TEXT,
        "branding": {"type": "object"},
        "outputs": {"type": "object"},
        "inputs": {
            "type": "object",
            "propertyNames": {"pattern": "^[a-z_][a-z0-9_-]*$"},
            "additionalProperties": {
                "type": "object",
                "required": ["description"],
                "additionalProperties": False,
                "properties": {
                    "description": _TEXT,
                    "required": {"type": "boolean"},
                    "default": _TEXT,
                    "deprecationMessage": _TEXT,
                },
            },
        },
        "runs": {
            "type": "object",
            "required": ["using", "steps"],
            "additionalProperties": False,
            "properties": {
                "using": {"const": "composite"},
                "steps": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "oneOf": [{"required": ["run", "shell"]}, {"required": ["uses"]}],
                        "additionalProperties": False,
                        "properties": {
                            "name": _TEXT,
                            "id": {"type": "string", "pattern": "^[a-zA-Z_][a-zA-Z0-9_-]*$"},
                            "if": {"type": ["string", "boolean"]},
                            "run": _TEXT,
                            "shell": {"enum": ["bash", "sh", "pwsh", "python", "cmd"]},
                            "env": {"type": "object", "additionalProperties": _TEXT},
                            "working-directory": _TEXT,
                            "continue-on-error": {"type": ["string", "boolean"]},
                            "uses": {"type": "string", "pattern": "^[\\w.-]+/[\\w./-]+@.+$"},
                            "with": {"type": "object"},
                        },
                    },
                },
            },
        },
    },
}

# After GitLab's "CI/CD YAML syntax reference": a file of hidden jobs.
_GITLAB_SCHEMA = {
    "type": "object",
    "propertyNames": {"pattern": "^\\."},
    "additionalProperties": {
        "type": "object",
        "required": ["script"],
        "additionalProperties": False,
        "properties": {
            "image": _TEXT,
            "variables": {"type": "object", "additionalProperties": _TEXT},
            "before_script": _TEXTS,
            "script": _TEXTS,
            "artifacts": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "when": {"enum": ["on_success", "on_failure", "always"]},
                    "paths": _TEXTS,
                    "expire_in": _TEXT,
                    "reports": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {"junit": {"anyOf": [_TEXT, _TEXTS]}},
                    },
                },
            },
        },
    },
}

_SOURCE = """
unsigned history[64];
__attribute__((noinline)) void step(unsigned key) {
    for (unsigned i = 0; i < 64; i++)
        history[i] = key EXTRA;
}
__attribute__((noipa)) unsigned sensor(void) { return 5; }
int main(void) { step(sensor()); return 0; }
"""

_TESTS = """
import pytest

@pytest.mark.budget(cycles=BUDGET, region="step", ram="2k")
def test_step(cortex_m):
    cortex_m("image-m4.elf", board="generic-m4")
"""


@pytest.fixture(scope="module")
def action() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(ACTION.read_text())
    return found


@pytest.fixture(scope="module")
def gitlab() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(GITLAB.read_text())
    return found


class Project:
    """Someone's repository with firmware, a baseline and tests, and a machine that runs CI."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.summary = folder / "summary.md"
        self._commands = folder / "commands"
        self._commands.mkdir()
        self.log = folder / "installed.txt"
        self.log.touch()
        # Installers only tell what they would do; the rest is what an installation brings.
        tell = f'echo "$(basename "$0") $*" >> {self.log}\n'
        self._command("apt-get", tell)
        self._command("sudo", tell)
        self._command("ebnn", f'exec {sys.executable} -m ebnn.cli "$@"\n')
        pip = f'if [ "$1 $2" = "-m pip" ]; then {tell} else exec {sys.executable} "$@"; fi\n'
        self._command("python", pip)
        self.make()
        (folder / "ebnn-regress.toml").write_text(
            '[entry.step]\nelf = "image-m4.elf"\nboards = ["generic-m4"]\nregions = ["step"]\n'
        )
        (folder / "test_fw.py").write_text(_TESTS.replace("BUDGET", "500"))
        assert self.run("ebnn regress update", {})[0] == 0

    def make(self, extra: str = "") -> None:
        build(self.folder, "m4", _SOURCE.replace("EXTRA", extra))

    def _command(self, name: str, script: str) -> None:
        path = self._commands / name
        path.write_text(f"#!/bin/sh\n{script}")
        path.chmod(0o755)

    def run(self, script: str, variables: Mapping[str, str]) -> tuple[int, str]:
        """As both services run a step: its exit code and all that it printed."""
        environment = {
            **os.environ,
            "PATH": f"{self._commands}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHON": sys.executable,
            "PYTEST_ADDOPTS": "-p ebnn.pytest_plugin -p no:cacheprovider",
            **variables,
        }
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        return done.returncode, done.stdout

    def run_action(self, action: Mapping[str, Any], **given: str) -> tuple[dict[str, int], str]:
        """Each command step's exit code by its name, and what they printed."""
        inputs = {name: one.get("default", "") for name, one in action["inputs"].items()} | given
        codes: dict[str, int] = {}
        printed = ""
        for step in action["runs"]["steps"]:
            condition = step.get("if", "${{ success() }}")
            failed = any(codes.values())
            if "run" not in step or not _holds(condition, inputs, failed):
                continue
            variables = {key: _filled(value, inputs) for key, value in step.get("env", {}).items()}
            variables |= {
                "GITHUB_ACTIONS": "true",
                "GITHUB_ACTION_PATH": str(ACTION.parent),
                "GITHUB_STEP_SUMMARY": str(self.summary),
            }
            codes[step["name"]], text = self.run(step["run"], variables)
            printed += text
        return codes, printed

    def run_gitlab(self, gitlab: Mapping[str, Any], **given: str) -> tuple[int, str]:
        """The job's exit code, and what it printed."""
        job = gitlab[".ebnn"]
        script = "\n".join([*job["before_script"], *job["script"]])
        return self.run(script, {"GITHUB_ACTIONS": "false", **job["variables"], **given})


def _filled(text: str, inputs: Mapping[str, str]) -> str:
    return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: inputs[found[1]], text)


def _holds(condition: str, inputs: Mapping[str, str], failed: bool) -> bool:
    """Of the expressions that the action uses."""
    inner = re.fullmatch(r"\$\{\{ (.*) \}\}", condition)
    assert inner is not None
    terms = inner[1].split(" && ")
    for term in terms:
        compared = re.fullmatch(r"inputs\.([\w-]+) (==|!=) '([^']*)'", term)
        if compared is not None:
            if (inputs[compared[1]] == compared[3]) != (compared[2] == "=="):
                return False
        else:
            assert term in ("!cancelled()", "success()", "steps.install.outcome == 'success'")
    return not failed or "!cancelled()" in terms


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


# --- the files ------------------------------------------------------------------------------


def test_the_action_is_a_composite_action(action: dict[str, Any]) -> None:
    jsonschema.validate(action, _ACTION_SCHEMA)


def test_the_template_is_gitlabs(gitlab: dict[str, Any]) -> None:
    jsonschema.validate(gitlab, _GITLAB_SCHEMA)
    assert list(gitlab) == [".ebnn"]


def test_the_schemas_refuse_what_the_services_refuse(
    action: dict[str, Any], gitlab: dict[str, Any]
) -> None:
    shell = next(step for step in action["runs"]["steps"] if "run" in step)
    without = {key: value for key, value in shell.items() if key != "shell"}
    broken = {**action, "runs": {**action["runs"], "steps": [without]}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, _ACTION_SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({".ebnn": {**gitlab[".ebnn"], "scripts": []}}, _GITLAB_SCHEMA)


def test_scripts_of_the_action_hold_no_expressions(action: dict[str, Any]) -> None:
    """GitHub pastes them in before the shell reads the script: an input would be run."""
    for step in action["runs"]["steps"]:
        assert "${{" not in step.get("run", "")


def test_the_action_uses_each_of_its_inputs(action: dict[str, Any]) -> None:
    used = set(re.findall(r"inputs\.([\w-]+)", ACTION.read_text()))
    assert used == set(action["inputs"])


def test_the_guides_examples_agree_with_the_templates(
    action: dict[str, Any], gitlab: dict[str, Any]
) -> None:
    # `!reference` is GitLab's own tag, of a list.
    text = GUIDE.read_text().replace("!reference ", "")
    workflow, pipeline = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    step = workflow["jobs"]["firmware"]["steps"][-1]
    assert step["uses"].startswith(f"OWNER/ebnn/{ACTION.parent.relative_to(ROOT)}@")
    assert set(step["with"]) <= set(action["inputs"])
    assert pipeline["include"][0]["remote"].endswith(str(GITLAB.relative_to(ROOT)))
    job = pipeline["firmware"]
    assert job["extends"] in gitlab and set(job["variables"]) <= set(gitlab[".ebnn"]["variables"])


# --- their commands -------------------------------------------------------------------------


def test_the_action_passes_unchanged_firmware(project: Project, action: dict[str, Any]) -> None:
    codes, printed = project.run_action(action, tests="test_fw.py -k step")
    assert set(codes.values()) == {0}, printed
    assert len(codes) == 4
    installed = project.log.read_text().splitlines()
    assert installed == [f"python -m pip install --quiet {ROOT} pytest"]
    reports = project.folder / "ebnn-reports"
    for name in ("regress.xml", "pytest.xml"):
        assert ElementTree.parse(reports / name).findall(".//testcase")
        assert not ElementTree.parse(reports / name).findall(".//failure")
    assert [one.name for one in (reports / "records").iterdir()] == ["test_fw.py-test_step-1.json"]
    summary = project.summary.read_text()
    figures, tests = summary.split("### Firmware tests")  # each adds to what is there
    assert "step on generic-m4" in figures and "cycles of step" in tests


def test_the_action_fails_slower_firmware_in_both_checks(
    project: Project, action: dict[str, Any]
) -> None:
    project.make(extra="* (key + i) / (i + 1)")
    codes, printed = project.run_action(action, tests="test_fw.py")
    assert codes["Compare with the baseline"] == 1
    assert codes["Run the firmware's tests"] == 1
    assert "::error " in printed
    assert "step: " in printed and "over the budget of 500" in printed
    for name in ("regress.xml", "pytest.xml"):
        assert ElementTree.parse(project.folder / "ebnn-reports" / name).findall(".//failure")
    assert "OVER" in project.summary.read_text()


def test_checks_can_be_left_out_of_the_action(project: Project, action: dict[str, Any]) -> None:
    project.make(extra="* (key + i) / (i + 1)")
    codes, _ = project.run_action(
        action, baseline="", tests="", toolchain="false", extras="train", reports="out"
    )
    assert codes == {"Install ebnn": 0}
    assert project.log.read_text() == f"python -m pip install --quiet {ROOT}[train] pytest\n"


def test_hostile_inputs_stay_words(project: Project, action: dict[str, Any]) -> None:
    codes, _ = project.run_action(action, baseline="$(touch owned); touch owned", tests="")
    assert codes["Compare with the baseline"] == 2
    assert not (project.folder / "owned").exists()


def test_the_strict_action_fails_faster_firmware(project: Project, action: dict[str, Any]) -> None:
    project.make(extra="* (key + i) / (i + 1)")
    assert project.run("ebnn regress update", {})[0] == 0
    project.make()
    codes, printed = project.run_action(action, strict="true")
    assert codes["Compare with the baseline"] == 1, printed
    codes, printed = project.run_action(action)
    assert codes["Compare with the baseline"] == 0, printed


def test_gitlabs_job_passes_unchanged_firmware(project: Project, gitlab: dict[str, Any]) -> None:
    code, printed = project.run_gitlab(gitlab, EBNN_TESTS="test_fw.py")
    assert code == 0, printed
    assert project.log.read_text().splitlines() == [
        "apt-get -q update",
        "apt-get -q install -y --no-install-recommends gcc-arm-none-eabi libnewlib-arm-none-eabi",
        "python -m pip install --quiet ebnn pytest",
    ]
    artifacts = gitlab[".ebnn"]["artifacts"]
    for path in artifacts["reports"]["junit"]:
        assert ElementTree.parse(project.folder / path).findall(".//testcase")
    reports = project.folder / artifacts["paths"][0]
    assert sorted(one.name for one in reports.iterdir()) == [
        "pytest.md",
        "pytest.xml",
        "records",
        "regress.json",
        "regress.md",
        "regress.xml",
    ]


def test_gitlabs_job_fails_slower_firmware_after_both_checks(
    project: Project, gitlab: dict[str, Any]
) -> None:
    project.make(extra="* (key + i) / (i + 1)")
    code, printed = project.run_gitlab(gitlab, EBNN_TESTS="test_fw.py", EBNN_TOOLCHAIN="false")
    assert code == 1
    assert "over the budget of 500" in printed
    for path in gitlab[".ebnn"]["artifacts"]["reports"]["junit"]:
        assert ElementTree.parse(project.folder / path).findall(".//failure")
    code, _ = project.run_gitlab(gitlab, EBNN_BASELINE="")
    assert code == 0  # the comparison is left out, and there are no tests


def test_gitlabs_job_can_be_strict(project: Project, gitlab: dict[str, Any]) -> None:
    project.make(extra="* (key + i) / (i + 1)")
    assert project.run("ebnn regress update", {})[0] == 0
    project.make()
    assert project.run_gitlab(gitlab, EBNN_STRICT="true")[0] == 1
    assert project.run_gitlab(gitlab)[0] == 0
